"""Compile templates for one language: the sentences that stand in them are translated once, not on every page."""

from __future__ import annotations

from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.visitor import NodeTransformer

from features.core.language import Language

# What templates call to say a sentence.
SAY = "_"


class TranslatingGenerator(CodeGenerator):
    """Makes Python of a template; its environment has a `language`, a name of `features.core.language`."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802  # Jinja's name
        """Write a template's code."""
        translated = _Translation(Language(getattr(self.environment, "language", "en"))).visit(node)
        super().visit_Template(translated, frame)


class _Translation(NodeTransformer):
    def __init__(self, language: Language) -> None:
        self._language = language

    def visit_Call(self, node: nodes.Call, *arguments: Any, **named: Any) -> nodes.Node:  # noqa: N802  # Jinja's name
        """Put a translated sentence in the place of the call that says it, if it has no values to fill in."""
        called = self.generic_visit(node, *arguments, **named)
        is_said = isinstance(node.node, nodes.Name) and node.node.name == SAY
        if is_said and len(node.args) == 1 and isinstance(node.args[0], nodes.Const) and not node.kwargs:
            return nodes.Const(self._language.say(node.args[0].value), lineno=node.lineno)
        return called
