from atompaint_vae.text.tables import format_table


def test_a_narrow_terminal_gets_the_table_in_parts():
    rows = [["run", "aaaa", "bbbb", "c"], ["x", "1", "2", "3"]]
    assert format_table(rows) == ["run  aaaa  bbbb  c", "x    1     2     3"]
    assert format_table(rows, max_width=10) == [
        "run  aaaa", "x    1", "", "run  bbbb", "x    2", "", "run  c", "x    3"
    ]  # fmt: skip


def test_numbers_may_stand_to_the_right():
    assert format_table([["a", "n"], ["b", "10"]], "<>") == ["a   n", "b  10"]
