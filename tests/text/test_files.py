import pytest

from atompaint_vae.text.files import write_together


def test_no_file_is_replaced_if_one_of_them_cannot_be_written(tmp_path):
    paths = [tmp_path / "a", tmp_path / "missing" / "b"]
    paths[0].write_text("old")
    with pytest.raises(FileNotFoundError) as error:
        write_together({paths[0]: "new", paths[1]: "new"})
    assert error.value.filename == str(paths[1])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert paths[0].read_text() == "old"


def test_files_are_replaced_together(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_text("old")
    write_together({paths[0]: "new", paths[1]: b"bytes"}, keep={paths[0]: tmp_path / "kept"})
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"a": "new", "b": "bytes", "kept": "old"}
