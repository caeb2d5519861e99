"""Newcomers of a version are described as the store was: by its scales, levels and columns."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgscale.data.fits import FileFit
from kgscale.data.ngrams import NGrams
from kgscale.data.rdf import RdfFiles
from kgscale.data.scale import Scale
from kgscale.data.triples import TripleFiles
from kgscale.durable import file_hash, hash_files, sealed, unsealed
from kgscale.errors import ConfigError, DataError
from kgscale.graph.append import Appended
from kgscale.graph.store import MANIFEST, ORIGIN, GraphStore, prepare
from kgscale.graph.stored import FITS, read_fits

TRIPLES = ("a\tr\tb", "b\tr\tc", "c\tr\ta")
TABLE = ("key\tage\ttrade\tbio", "a\t1\tsmith\tred house", "b\t3\tbaker\t", "c\t\tsmith\tsea")
USED = {"numbers": "age", "categories": "trade", "text": "bio", "dim": 4}


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def built(root: Path, features: Any, *triples: str, **more: Any) -> GraphStore:
    path = write(root / "t.tsv", *(triples or TRIPLES))
    source = TripleFiles(path=path, features=features, split=[1, 0, 0], **more)
    return prepare(source, root / "stores")


def later(old: GraphStore, features: Any, *keys: str, **more: Any) -> GraphStore:
    """A version with newcomers."""
    root = old.path.parent.parent
    path = write(root / f"{''.join(keys)}.tsv", *(f"{key}\tr\ta" for key in keys))
    source = TripleFiles(path=path, features=features, split=[1, 0, 0], **more)
    return prepare(Appended(old, source), root / "stores")


def rows(store: GraphStore) -> dict[str, list[float]]:
    (found,) = store.features().values()
    return dict(zip(store.entity_keys(list(range(len(found)))), found.tolist(), strict=True))


def described(root: Path) -> GraphStore:
    return built(root, {"path": write(root / "x.tsv", *TABLE), **USED})


def test_by_hand(tmp_path: Path) -> None:
    """Ages 1 and 3 have the mean 2 and the deviation 1, whatever newcomers' are."""
    old = described(tmp_path)
    more = write(tmp_path / "y.tsv", "bio\tage\tkey\ttrade", "sea\t4\td\tbaker", "\t\te\tmason")
    store = later(old, {"path": more, "key": "key", **USED}, "d", "e")
    sea = NGrams(dim=4).encode(["sea"])[0].tolist()
    found = rows(store)
    # Age and whether it is known; baker and smith, of which a mason is neither; the text.
    assert found["d"] == [2, 1, 1, 0, *sea]
    assert found["e"] == [0, 0, 0, 0, 0, 0, 0, 0]
    assert {key: found[key] for key in "abc"} == rows(old)
    told = store.manifest["counts"]["features"]
    assert told["left_out"] == {"y.tsv": {"count": 1, "first": ["'mason' of 'trade'"]}}
    # Of a version the next one is made likewise; its own newcomers have changed no scale.
    last = write(tmp_path / "z.tsv", "key\ttrade\tage\tbio", "f\tsmith\t0\t")
    final = rows(later(store, {"path": last, **USED}, "f"))
    assert final["f"] == [-2, 1, 0, 1, 0, 0, 0, 0]
    assert {key: final[key] for key in "abcde"} == found


numbers = st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=3, max_size=3)


@settings(max_examples=4)
@given(old=st.lists(numbers, min_size=3, max_size=3), new=st.lists(numbers, min_size=2, max_size=2))
def test_numbers_are_scaled_as_the_first_were(
    old: list[list[float | None]], new: list[list[float | None]], tmp_path_factory: Any
) -> None:
    old[0] = [1.0, 2.0, 3.0]  # every column is held
    root = tmp_path_factory.mktemp("any")
    setting = {"numbers": [2, 1, 3]}
    store = built(root, {"path": table(root / "x.tsv", "abc", old), **setting})
    version = later(store, {"path": table(root / "y.tsv", "de", new), **setting}, "d", "e")
    (before,), (after,) = store.features().values(), version.features().values()
    assert after[:3].numpy().tobytes() == before.numpy().tobytes()
    order = [1, 0, 2]
    fitted, given_ = (np.array(some, np.float64)[:, order] for some in (old, new))
    np.testing.assert_array_equal(after[3:], Scale.fit(fitted).apply(given_))


def table(path: Path, keys: str, values: list[list[float | None]]) -> Path:
    lines = [
        "\t".join([key, *("" if one is None else repr(one) for one in row)])
        for key, row in zip(keys, values, strict=True)
    ]
    return write(path, *lines)


def test_all_numbers_of_a_table_and_of_an_array(tmp_path: Path) -> None:
    table_ = write(tmp_path / "x.tsv", "key\tm\tn", "a\t1\t5", "c\t3\t")
    np.save(tmp_path / "x.npy", np.array([[1.0, 10.0], [3.0, np.nan]]))
    write(tmp_path / "keys.txt", "a", "b")
    old = built(
        tmp_path,
        [
            {"path": table_, "numbers": "all", "header": True},
            {"path": tmp_path / "x.npy", "numbers": "all", "keys": str(tmp_path / "keys.txt")},
        ],
    )
    # Columns of a table are known by their names: in whatever order.
    more = write(tmp_path / "y.tsv", "key\tn\tm", "d\t7\t2")
    np.save(tmp_path / "y.npy", np.array([[5.0, np.nan]]))
    write(tmp_path / "late.txt", "e")
    array = {"path": tmp_path / "y.npy", "numbers": "all", "keys": str(tmp_path / "late.txt")}
    version = later(old, [array, {"path": more, "numbers": "all", "header": True}], "d", "e")
    found = rows(version)
    assert found["d"] == [0, 1, 2, 1, 0, 0, 0, 0]
    assert found["e"] == [0, 0, 0, 0, 3, 1, 0, 0]
    other = write(tmp_path / "o.tsv", "key\tn\to", "f\t7\t2")
    with pytest.raises(ConfigError, match=r"o\.tsv gives .* numbers 'n', 'o', and .* 'm', 'n'"):
        later(version, {"path": other, "numbers": "all", "header": True}, "f")


def test_literals_lack_some_and_have_others(tmp_path: Path) -> None:
    first = write(tmp_path / "x.tsv", "a\theight\t1", "b\theight\t3", "a\tweight\t5")
    setting = {"kind": "literals", "least": 1}
    old = built(tmp_path, {"path": first, **setting})
    more = write(tmp_path / "y.tsv", "d\theight\t4", "d\tcolour\t9", "e\tcolour\t9")
    version = later(old, {"path": more, **setting, "least": 2}, "d", "e")
    found = rows(version)
    # Height, weight; and though least wants two, one newcomer's height is enough.
    assert found["d"] == [2, 1, 0, 0]
    assert found["e"] == [0, 0, 0, 0]
    left = version.manifest["counts"]["features"]["left_out"]
    assert left == {"y.tsv": {"count": 1, "first": ["numbers 'colour'"]}}


def test_texts_of_literals_are_made_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "w.tsv", "a\tbio\tred", "a\theight\t3")
    setting = {"kind": "literals", "text": ["bio"]}
    old = built(tmp_path, {"path": path, **setting, "dim": 8})
    more = write(tmp_path / "z.tsv", "d\tbio\tred")
    found = rows(later(old, {"path": more, **setting, "dim": 8}, "d"))
    assert found["d"] == [0, 0, *found["a"][2:]]
    with pytest.raises(ConfigError, match=r"text 'bio' by 256, 3, 4, 5"):
        later(old, {"path": more, **setting}, "d")


def test_literals_go_where_their_texts_are(tmp_path: Path) -> None:
    """Files with and without texts, in another order; and texts that nobody had."""
    numbers, texts = {"kind": "literals"}, {"kind": "literals", "text": ["bio"], "dim": 2}
    height = write(tmp_path / "h.tsv", "a\theight\t1", "b\theight\t3")
    bio = write(tmp_path / "b.tsv", "a\tbio\tred", "a\tage\t9")
    old = built(tmp_path, [{"path": height, **numbers}, {"path": bio, **texts}])
    more = [
        {"path": write(tmp_path / "c.tsv", "d\tbio\tred"), **texts},
        {"path": write(tmp_path / "i.tsv", "d\theight\t3"), **numbers},
    ]
    red = rows(old)["a"][-2:]
    assert rows(later(old, more, "d"))["d"] == [1, 1, 0, 0, *red]
    with pytest.raises(ConfigError, match="one of 2 files"):
        later(old, [more[1], more[1]], "e", "d")
    alone = built(tmp_path, {"path": height, **numbers}, *TRIPLES, "a\tr\tz")
    more = [{"path": write(tmp_path / "e.tsv", "d\tbio\tred", "d\theight\t2"), **texts}]
    version = later(alone, more, "d")
    assert rows(version)["d"] == [0, 1]
    left = version.manifest["counts"]["features"]["left_out"]
    assert left == {"e.tsv": {"count": 1, "first": ["texts"]}}


def test_literals_of_rdf(tmp_path: Path) -> None:
    def turtle(name: str, *lines: str) -> RdfFiles:
        path = write(tmp_path / name, "@prefix : <http://x/> .", *lines)
        return RdfFiles(path=path, literals="features", split=[1, 0, 0])

    first = turtle("t.ttl", ":a :r :b .", ":b :r :a .", ":a :h 1 .", ":b :h 3 .")
    old = prepare(first, tmp_path / "stores")
    more = turtle("m.ttl", ":c :r :a .", ":c :h 5 .", ':c :said "what" .')
    version = prepare(Appended(old, more), tmp_path / "stores")
    found = rows(version)
    assert found == {**rows(old), "http://x/c": [3, 1]}
    left = version.manifest["counts"]["features"]["left_out"]
    assert left == {"m.ttl": {"count": 1, "first": ["texts"]}}
    xsd = "http://www.w3.org/2001/XMLSchema#"
    broken = [f':d{at} :r :a ; :h 2 ; :k "no"^^<{xsd}int> .' for at in range(11)]
    few = turtle("few.ttl", *broken[:10])
    version = prepare(Appended(old, few), tmp_path / "stores")
    assert version.manifest["input"]["rejected"] == {"literal that is no finite number": 10}
    many = turtle("many.ttl", *broken)
    with pytest.raises(DataError, match=r"11 of 33 lines cannot be used"):
        prepare(Appended(old, many), tmp_path / "stores")


def test_rows_of_numbers_beside_what_is_described(tmp_path: Path) -> None:
    plain = write(tmp_path / "p.tsv", "a\t10\t20", "b\t30\t40")
    words = write(tmp_path / "w.tsv", "key\tage", "b\t1", "c\t3")
    old = built(tmp_path, [{"path": words, "numbers": "age"}, str(plain)])
    more = write(tmp_path / "q.tsv", "d\t50\t60")
    age = write(tmp_path / "v.tsv", "key\tage", "d\t3", "e\t2")
    version = later(old, [str(more), {"path": age, "numbers": "age"}], "d", "e")
    assert rows(version) == {**rows(old), "d": [50, 60, 1, 1], "e": [0, 0, 0, 1]}
    # Rows of all columns, as the store has them, are rows of one matrix with it.
    whole = write(tmp_path / "all.tsv", "f\t1\t2\t3\t4")
    assert rows(later(version, str(whole), "f"))["f"] == [1, 2, 3, 4]
    with pytest.raises(ConfigError, match="3 numbers as they stand"):
        later(version, str(write(tmp_path / "three.tsv", "g\t1\t2\t3")), "g")


def test_a_type_without_features_is_described_anew(tmp_path: Path) -> None:
    """As in the store of all input: nobody of the type was described before."""
    types = str(write(tmp_path / "types.tsv", "a\tman", "b\ttown", "c\tman"))
    men = write(tmp_path / "men.tsv", "key\tage", "a\t1", "c\t3")
    old = built(tmp_path, {"path": men, "numbers": "age"}, types=types)
    kinds = str(write(tmp_path / "kinds.tsv", "d\tman", "e\ttown", "f\ttown"))
    more = write(tmp_path / "more.tsv", "key\tage", "d\t2", "e\t100", "f\t300")
    setting = {"path": more, "numbers": "age"}
    version = later(old, setting, "d", "e", "f", types=kinds)
    man, town = (found.tolist() for found in version.features().values())
    assert man == [[-1, 1], [1, 1], [0, 1]]
    assert town == [[0, 0], [-1, 1], [1, 1]]
    # And is kept from then on.
    last = write(tmp_path / "last.tsv", "key\tage", "g\t400")
    kinds = str(write(tmp_path / "last-kinds.tsv", "g\ttown"))
    store = later(version, {"path": last, "numbers": "age"}, "g", types=kinds)
    assert store.features()[1].tolist() == [*town, [2, 1]]


def test_files_alike_are_as_many(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "one.tsv", "key\tage", "a\t1", "b\t3"),
        write(tmp_path / "two.tsv", "key\tage", "a\t10", "c\t30"),
    ]
    old = built(tmp_path, [{"path": path, "numbers": "age"} for path in files])
    more = [
        {"path": write(tmp_path / f"{at}.tsv", "key\tage", f"d\t{age}"), "numbers": "age"}
        for at, age in enumerate((2, 40))
    ]
    assert rows(later(old, more, "d"))["d"] == [0, 1, 2, 1]
    with pytest.raises(ConfigError, match=r"one of 1 files .* was built of 2: give as many"):
        later(old, more[:1], "d")


@pytest.mark.parametrize(
    ("used", "words"),
    [
        ({"numbers": "age"}, r"gives entities of the type 'entity' numbers 'age', and"),
        ({**USED, "dim": 5}, r"text 'bio' by 5, 3, 4, 5, and .* x\.tsv: .* by 4, 3, 4, 5: name"),
        ({**USED, "numbers": ["age", "size"]}, r"numbers 'age', 'size'; categories 'trade'"),
    ],
)
def test_other_columns_are_refused(tmp_path: Path, used: dict[str, Any], words: str) -> None:
    old = described(tmp_path)
    more = write(tmp_path / "y.tsv", "key\tage\ttrade\tbio\tsize", "d\t4\tbaker\tsea\t1")
    with pytest.raises(ConfigError, match=words):
        later(old, {"path": more, **used}, "d")


def test_a_column_that_the_file_lacks_is_named(tmp_path: Path) -> None:
    more = write(tmp_path / "y.tsv", "key\tage\tbio", "d\t4\tsea")
    with pytest.raises(DataError, match=r"y\.tsv.*'trade'"):
        later(described(tmp_path), {"path": more, **USED}, "d")


def test_who_was_there_before_is_not_described_again(tmp_path: Path) -> None:
    """As of rows of numbers, even where nothing was said of an entity."""
    old = described(tmp_path)
    more = write(tmp_path / "y.tsv", "key\tage\ttrade\tbio", "d\t4\tbaker\t", "b\t3\tbaker\t")
    with pytest.raises(DataError, match=r"y\.tsv row 1 .*'b' was there before"):
        later(old, {"path": more, **USED}, "d")


def altered(store: GraphStore, path: Path, change: Any) -> GraphStore:
    """A copy whose fits are others, as if they had been written so; ``None``: without them."""
    shutil.copytree(store.path, path)
    manifest = json.loads((path / MANIFEST).read_text())
    fits = path / FITS
    if change is None:
        fits.unlink()
        del manifest["files"][FITS]
    else:
        told = json.loads(fits.read_text())
        change(told["types"]["entity"][0]["parts"])
        fits.write_text(json.dumps(told))
        manifest["files"].update(hash_files(path, [FITS], threads=1))
    (path / MANIFEST).write_text(json.dumps(manifest))
    origin = {**unsealed(path / ORIGIN), "manifest": file_hash(path / MANIFEST)}
    (path / ORIGIN).write_bytes(sealed(origin).encode())
    return GraphStore.open(path)


def test_a_store_of_before_says_so(tmp_path: Path) -> None:
    old = altered(described(tmp_path), tmp_path / "stores" / "before", None)
    more = write(tmp_path / "y.tsv", "key\tage\ttrade\tbio", "d\t4\tbaker\tsea")
    with pytest.raises(ConfigError, match=r"before stores kept how .* delete it"):
        later(old, {"path": more, **USED}, "d")
    # Rows of all its columns it takes as ever, and so do its versions.
    for key in "de":
        old = later(old, str(write(tmp_path / "r.tsv", "\t".join([key, *"12345678"]))), key)
        assert rows(old)[key] == [1, 2, 3, 4, 5, 6, 7, 8]


DAMAGES = {
    "finite": lambda parts: parts[0].update(mean=[float("nan")]),
    "one unit": lambda parts: parts[0].update(unit=[1, 2]),
    "negative": lambda parts: parts[0].update(deviation=[-1]),
    "that are none": lambda parts: parts[0].update(held=["size"]),
    "each once": lambda parts: parts[1].update(levels=["smith", "smith"]),
    "otherwise": lambda parts: parts[1].update(use="magic"),
    "no number of columns": lambda parts: parts[2].update(dim=0),
    "columns of 'entity'": lambda parts: parts.pop(),
}


@pytest.mark.parametrize("words", DAMAGES)
def test_fits_that_cannot_be_are_refused(tmp_path: Path, words: str) -> None:
    store = altered(described(tmp_path), tmp_path / "stores" / "other", DAMAGES[words])
    with pytest.raises(DataError, match=f"{FITS} is damaged .*{words}.* build it anew"):
        later(store, None, "d")


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', "[" * 100_000, '{"schema": 2}'])
def test_what_is_no_file_of_fits(tmp_path: Path, text: str) -> None:
    (tmp_path / FITS).write_text(text)
    with pytest.raises(DataError, match="is damaged"):
        read_fits(tmp_path, {})


json_ = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=3), some),
    max_leaves=4,
)
PARTS = {
    "numbers": ("columns", "held", "unit", "mean", "deviation"),
    "categories": ("column", "levels"),
    "text": ("columns", "encoder", "dim"),
    "rows": ("dim",),
}


@given(st.data())
def test_whatever_is_told_is_a_fit_or_refused(data: st.DataObject) -> None:
    use = data.draw(st.sampled_from(sorted(PARTS)))
    right = {"columns": ["x"], "held": ["x"], "column": "x", "levels": [], "encoder": [], "dim": 1}
    scale = {name: [1.0] for name in ("unit", "mean", "deviation")}
    part = {name: {**right, **scale}[name] for name in PARTS[use]}
    assert FileFit.of({"kind": "columns", "file": "x", "parts": [{"use": use, **part}]})
    part[data.draw(st.sampled_from(PARTS[use]))] = data.draw(json_ | st.just([10**400]))
    try:
        fit = FileFit.of({"kind": "columns", "file": "x", "parts": [{"use": use, **part}]})
    except ValueError:
        return
    assert fit.told()["parts"] == [{"use": use, **part}]


def test_fits_come_back_as_they_were(tmp_path: Path) -> None:
    store = described(tmp_path)
    (fits,) = read_fits(store.path, {"entity": 8}).values()
    (again,) = (FileFit.of(json.loads(json.dumps(fit.told()))) for fit in fits)
    assert again.told() == fits[0].told()
    assert again.dim == 8
