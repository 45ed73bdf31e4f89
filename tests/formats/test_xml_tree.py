"""XML from elsewhere: read with its lines, streamed, and nothing in it can do harm."""

from __future__ import annotations

import pytest

import bounded
from labelwise.errors import FormatError
from labelwise.formats.xml_tree import DEEPEST, MOST, read_xml, stream_xml, write_element

LAUGHS = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;&x;&x;">]><a>&y;</a>"""
OUTSIDE = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>"""


def drawn(path):
    return list(stream_xml(path))


def test_children_of_the_root_come_one_by_one(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text('<r v="1">\n<a n="1"><b>text<!-- c --> more</b></a>\n<a n="2"/>\n</r>')
    root, first, second = drawn(path)
    assert (root.tag, root.attributes, root.children) == ("r", {"v": "1"}, [])
    assert (first.line, first.children[0].text, second.attributes) == (2, "text more", {"n": "2"})
    whole = read_xml(path)
    assert whole.children == [first, second]


def test_other_encodings_are_read(tmp_path):
    path = tmp_path / "a.xml"
    text = '<?xml version="1.0" encoding="ISO-8859-1"?><annotation><folder>Größe</folder></annotation>'
    path.write_bytes(text.encode("latin-1"))
    assert read_xml(path).plain() == {"folder": "Größe"}
    with pytest.raises(FormatError, match="does not exist"):
        read_xml(tmp_path / "b.xml")


@pytest.mark.heavy
def test_a_file_is_streamed_in_pieces_that_cut_elements(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<r>" + "".join(f'<image name="{n}ü.jpg"/>\n' for n in range(100_000)) + "</r>")
    names = [element.attributes["name"] for element in drawn(path)[1:]]
    assert names == [f"{n}ü.jpg" for n in range(100_000)]


@pytest.mark.parametrize("read", [read_xml, drawn])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "a document type or an entity is declared"),
        (OUTSIDE, "a document type or an entity is declared"),
        ("<a>" * (DEEPEST + 1), f"more than {DEEPEST} elements lie within each other"),
        ("<a><b></a>", r"line 1: no valid XML \(mismatched tag\)"),
        ("<a><b/>", r"no valid XML \(no element found\)"),
        ("", "no valid XML"),
        ('<?xml version="1.0" encoding="klingon"?><a/>', "no valid XML"),
        ("<a><b>&nbsp;</b></a>", r"no valid XML \(undefined entity\)"),
    ],
)
def test_what_is_no_plain_xml_is_refused(tmp_path, read, text, message):
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        read(path)


@pytest.mark.parametrize("read", [read_xml, drawn])
def test_what_is_no_file_is_refused(tmp_path, read):
    (tmp_path / "endless.xml").symlink_to("/dev/zero")
    for path in (tmp_path / "nowhere.xml", tmp_path, tmp_path / "endless.xml", f"{tmp_path}/\0.xml"):
        with pytest.raises(FormatError):
            read(path)


@pytest.mark.heavy
def test_many_small_elements_and_long_texts_cost_little(tmp_path):
    """A text in a million pieces is joined once, not a million times."""
    (tmp_path / "many.xml").write_text("<r>" + "<a/>" * (MOST + 1) + "</r>")
    (tmp_path / "text.xml").write_text("<r><a>" + "x&amp;\n" * 2_000_000 + "</a></r>")
    (tmp_path / "wide.xml").write_text("<r><a b='" + "x" * 20_000_000 + "'/></r>")
    costs = bounded.calls(
        "labelwise.formats.xml_tree:read_xml", [(str(tmp_path / f"{name}.xml"),) for name in ("many", "text", "wide")]
    )
    assert [cost.error for cost in costs] == ["FormatError", "", ""]


def test_what_was_read_is_written_again():
    text = "<r>\n\t<a n='1'>x &amp; y</a>\n</r>\n".replace("'", '"')
    assert write_element("r", {"a": {"@n": "1", "#text": "x & y"}}) == text
