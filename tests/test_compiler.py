"""C++ that is compiled when it is needed."""

import ctypes
import shutil

import pytest

from atompaint_vae.compiler import compile_library


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "add.cpp"
    path.write_text('extern "C" int add(int a, int b) { return a + b; }')
    return path


@pytest.mark.skipif(not shutil.which("c++"), reason="there is no C++ compiler")
def test_what_is_compiled_can_be_called(source):
    library = compile_library(source)
    assert library.add(ctypes.c_int(2), ctypes.c_int(3)) == 5
    assert compile_library(source) is library


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_working_compiler_there_is_no_code(source, compiler, monkeypatch):
    monkeypatch.setenv("CXX", compiler)
    assert compile_library(source) is None


@pytest.mark.skipif(not shutil.which("c++"), reason="there is no C++ compiler")
def test_a_compiler_that_is_killed_is_called_again(source, tmp_path, monkeypatch):
    compiler = tmp_path / "killed-once"
    compiler.write_text(f'#!/bin/sh\n[ -e {tmp_path}/once ] && exec c++ "$@"\n'
                        f"touch {tmp_path}/once\nkill -TERM $$\n")  # fmt: skip
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert compile_library(source).add(ctypes.c_int(2), ctypes.c_int(3)) == 5
