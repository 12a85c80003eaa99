"""Terms lead to the glossary from their first occurrence, and no markup breaks."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

from gpubn.errors import LedgerError
from gpubn.report.claims import rules
from gpubn.report.site.terms import FILE, load_glossary


def link(anchor, text, page="glossary.html"):
    return f'<a class="term" href="{page}#{anchor}">{text}</a>'


@pytest.fixture(scope="module")
def glossary():
    return load_glossary()


@pytest.fixture(scope="module")
def terms(glossary):
    return {t.term: t for group in glossary.groups.values() for t in group}


def test_every_verdict_is_explained(terms):
    assert {*rules.VERDICTS} <= {*terms}


@pytest.mark.parametrize(
    "term",
    ["nat", "decade", "log ratio", "geometric mean", "seed", "interval", "arm", "cell", "grid",
     "correction for many tests", "smallest effect that matters", "Glorot", "He's initialisation",
     "batchnorm before", "batchnorm after", "gamma", "beta", "eps", "moving averages",
     "ghost batch", "logit", "sigmoid", "saturation", "internal covariate shift", "universe"],
)  # fmt: skip
def test_a_term_is_explained_in_a_sentence_or_two(terms, term):
    said = terms[term].says
    assert said.endswith(".")
    assert 1 <= len(re.findall(r"[.;?]( |$)", said)) <= 4


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("0.05 nats, half a nat", f"0.05 {link('nat', 'nats')}, half a nat"),
        ("Seeds & seedy, re-seed", f"{link('seed', 'Seeds')} &amp; seedy, re-seed"),
        ("seedless", "seedless"),
        ("He said: He normal", f"He said: {link('he-s-initialisation', 'He normal')}"),
        ("he normal", "he normal"),
        ("log ratios of N(0, 0.01²)", f"{link('log-ratio', 'log ratios')} of "
         f"{link('n-0-0-01', 'N(0, 0.01²)')}"),
        ("not reproduced; reproduced", f"{link('not-reproduced', 'not reproduced')}; "
         f"{link('reproduced', 'reproduced')}"),
        ("a layer", "a layer"),
        ("He's weights", link("he-s-initialisation", "He&#39;s weights")),
        (Markup('<p title="nats">nats</p>'), f'<p title="nats">{link("nat", "nats")}</p>'),
        (Markup('<a href="x">nats</a> nats'), f'<a href="x">nats</a> {link("nat", "nats")}'),
        (Markup("<code>eps</code>, eps"), f"<code>eps</code>, {link('eps', 'eps')}"),
        (Markup("<pre><b>eps</b> seed</pre>"), "<pre><b>eps</b> seed</pre>"),
    ],
)  # fmt: skip
def test_the_first_whole_word_outside_of_tags_is_marked(glossary, text, marked):
    assert glossary.mark(text) == marked


def test_the_way_and_the_own_term_are_heeded(glossary):
    said = glossary.mark("a seed and nats", "../glossary.html", "seed")
    assert said == f"a seed and {link('nat', 'nats', '../glossary.html')}"


@given(st.lists(st.sampled_from(
    ["nats", "seed", "<b>", "&", "95% interval", "batchnorm before tanh", "He's", "x", "open"]
)))  # fmt: skip
def test_marking_twice_changes_nothing(words):
    glossary = load_glossary()
    once = glossary.mark(" ".join(words))
    assert glossary.mark(once) == once
    plain = re.sub(r'<a class="term" [^>]*>|</a>', "", once)
    assert Markup(plain).unescape() == " ".join(words)


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ("term: seed,", "term: Interval,", "glossary.yaml: has 'interval' twice; expected it once"),
        ("term: seed,", "word: seed,", "has the unknown key 'word'"),
        ("{term: log ratio,", '{term: geometric-mean, says: x}\n    - {term: log ratio,',
         "has 'geometric-mean' twice"),
        ("- group: Numbers", "group: Numbers", "is no YAML"),
    ],
)  # fmt: skip
def test_a_fault_is_named(tmp_path, before, after, error):
    text = FILE.read_text("utf-8")
    path = tmp_path / "glossary.yaml"
    path.write_text(text.replace(before, after, 1), "utf-8")
    with pytest.raises(LedgerError) as caught:
        load_glossary(path)
    assert error in str(caught.value)


def test_a_glossary_is_a_list(tmp_path):
    path = tmp_path / "glossary.yaml"
    path.write_text("{}")
    with pytest.raises(LedgerError, match=r"is \{\}; expected a list of groups"):
        load_glossary(path)
