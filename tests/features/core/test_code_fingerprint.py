import sys

import pytest

from features.core.code_fingerprint import fingerprint_packages


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a package inside, and how its files are changed."""
    folder = tmp_path / "tiny_cached_package"
    (folder / "inner").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text("x = 1\n")
    (folder / "inner" / "two.py").write_text("y = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    # That of the test before lay in another folder.
    monkeypatch.delitem(sys.modules, folder.name, raising=False)
    fingerprint_packages.cache_clear()
    yield folder
    fingerprint_packages.cache_clear()


def fingerprint_again(package):
    fingerprint_packages.cache_clear()
    return fingerprint_packages(package.name)


def test_changed_added_renamed_and_removed_modules_change_the_fingerprint(package):
    seen = [fingerprint_again(package)]
    (package / "inner" / "two.py").write_text("y = 3\n")
    seen.append(fingerprint_again(package))
    (package / "three.py").write_text("")
    seen.append(fingerprint_again(package))
    (package / "three.py").rename(package / "inner" / "three.py")
    seen.append(fingerprint_again(package))
    (package / "one.py").unlink()
    seen.append(fingerprint_again(package))
    assert len(set(seen)) == 5


def test_other_files_leave_it_and_so_does_a_second_look(package):
    first = fingerprint_again(package)
    (package / "page.html").write_text("<p>")
    assert fingerprint_again(package) == first


def test_a_package_that_is_not_there_is_an_error():
    with pytest.raises(ModuleNotFoundError):
        fingerprint_packages("features.nowhere")
