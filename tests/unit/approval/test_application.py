"""Parsing and validation of applications."""

import hashlib
import json
from datetime import date

import pytest
from approval.application import DISTRICTS, Level, parse
from approval.people import TEST_NUMBERS, applicant, with_mobile
from approval.problems import EXPLANATIONS, Problem

TODAY = date(2026, 6, 1)


def form(**changes):
    """Return a valid form with some members changed."""
    body = applicant(1, 1) | changes
    return json.dumps(body, ensure_ascii=False).encode()


def code_of(raw):
    """Return code and field with which a body is refused."""
    with pytest.raises(Problem) as refused:
        parse(raw, TODAY)
    assert 400 <= refused.value.explanation.status < 500
    return refused.value.code, refused.value.field


def test_the_digest_depends_on_the_content_and_not_on_its_spelling():
    """Order, spaces and escapes do not matter. The ledger computes the same digest."""
    body = applicant(1, 1)
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    spelt = json.dumps(dict(reversed(body.items())), indent=3, ensure_ascii=True).encode()
    assert parse(spelt, TODAY).digest == parse(form(), TODAY).digest == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "body_malformed"),
        (b"{", "body_malformed"),
        (b"nonsense", "body_malformed"),
        (b'{"a":1,"a":2}', "body_malformed"),
        (b'{"a":NaN}', "body_malformed"),
        (b'{"a":-Infinity}', "body_malformed"),
        (b'{"a":"\\ud800"}', "body_malformed"),
        (b'{"a":' + b"9" * 5000 + b"}", "body_malformed"),
        (b"[" * 8000, "body_malformed"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "body_malformed"),
        (b"\xff\xfe{}", "body_encoding"),
        (b"\xef\xbb\xbf{}", "body_malformed"),
        (b"[]", "field_type"),
        (b'"text"', "field_type"),
        (b"null", "field_type"),
        (b"{}", "field_missing"),
    ],
)
def test_a_body_that_is_no_application_is_refused(raw, code):
    """The body is malformed, ambiguous or too deep, or has a number that is too long."""
    assert code_of(raw)[0] == code


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"extra": 1}, "field_unknown", "extra"),
        ({"扩展": 1}, "field_unknown", "\\u6269\\u5c55"),
        ({"name": 5}, "field_type", "name"),
        ({"name": None}, "field_type", "name"),
        ({"name": "Ｗａｎｇ"}, "name_lookalike", "name"),
        ({"id_number": "1"}, "id_number_malformed", "id_number"),
        ({"id_number": 110105194912310021}, "field_type", "id_number"),
        ({"district": "天河区"}, "district_unknown", "district"),
        ({"district": []}, "field_type", "district"),
        ({"synthetic": 1}, "field_type", "synthetic"),
        ({"synthetic": False}, "synthetic_mismatch", "synthetic"),
        ({"id_number": "11010519491231002X"}, "synthetic_mismatch", "synthetic"),
        ({"mobile": 15400000001}, "field_type", "mobile"),
        ({"mobile": ""}, "mobile_malformed", "mobile"),
        ({"mobile": "13800138000"}, "mobile_synthetic", "mobile"),
        ({"employer": ""}, "text_length", "employer"),
        ({"employer": 5}, "field_type", "employer"),
        ({"degree": "bachelor"}, "field_type", "degree"),
        ({"degree": {}}, "field_missing", "degree.graduated_year"),
        ({"degree": {"level": "x", "university": "u", "graduated_year": 2026}}, "degree_level", "degree.level"),
        ({"degree": {"level": [], "university": "u", "graduated_year": 2026}}, "degree_level", "degree.level"),
        ({"degree": {"level": "master", "university": None, "graduated_year": 2026}}, "degree_incomplete", "degree"),
        ({"degree": {"level": "master", "university": "大学", "graduated_year": 2028}}, "degree_year", None),
        ({"degree": {"level": "master", "university": "大学", "graduated_year": True}}, "field_type", None),
        ({"degree": {"level": "master", "university": "大学", "graduated_year": 2.0}}, "field_type", None),
        (
            {"degree": {"level": "master", "university": "大学", "graduated_year": 2, "x": 1}},
            "field_unknown",
            "degree.x",
        ),
    ],
)
def test_a_wrong_member_is_named(changes, code, field):
    """The refusal has the code of the problem and the name of the field."""
    found, named = code_of(form(**changes))
    assert found == code
    assert field is None or named == field


def test_a_missing_member_is_named():
    """Every member must be present, even if it may be null."""
    for member in applicant(1, 1):
        body = {name: value for name, value in applicant(1, 1).items() if name != member}
        assert code_of(json.dumps(body).encode()) == ("field_missing", member)


def test_a_mobile_number_is_optional_and_stored_without_separators():
    """Clients that send none, or null, get the same answers as before. The digest covers the number as it was sent."""
    assert parse(form(), TODAY).mobile is None
    assert parse(form(mobile=None), TODAY).mobile is None
    spelt = parse(form(mobile="+86 154 0000 0001"), TODAY)
    assert spelt.mobile == "15400000001"
    assert spelt.digest != parse(form(mobile="15400000001"), TODAY).digest


def test_a_real_applicant_has_no_number_of_a_synthetic_person():
    """Otherwise the message to that applicant would be suppressed without notice."""
    real = {"id_number": "11010519491231002X", "synthetic": False}
    assert parse(form(**real, mobile="13800138000"), TODAY).mobile == "13800138000"
    assert code_of(form(**real, mobile="15400000001")) == ("mobile_synthetic", "mobile")


def test_the_numbers_of_the_test_population_are_accepted():
    """Each person has a number of their own in the synthetic segment."""
    numbers = {parse(json.dumps(with_mobile(applicant(1, n), n)).encode(), TODAY).mobile for n in range(50)}
    assert len(numbers) == 50
    assert all(number is not None and number.startswith(TEST_NUMBERS) for number in numbers)


def test_a_missing_degree_may_be_stated_in_two_ways():
    """The degree is null, or it has the level none and its other members are null."""
    nothing = {"level": "none", "university": None, "graduated_year": None}
    assert parse(form(degree=None), TODAY).degree is None
    assert parse(form(degree=nothing), TODAY).degree is None
    doctor = {"level": "doctor", "university": "深圳大学", "graduated_year": 2025}
    assert parse(form(degree=doctor), TODAY).degree.level is Level.DOCTOR


def test_all_ten_districts_are_accepted():
    """The city has ten districts."""
    assert len(DISTRICTS) == 10
    for district in DISTRICTS:
        assert parse(form(district=district), TODAY).district == district


def test_every_refusal_is_explained_in_both_languages_and_is_never_500():
    """This includes the refusals that only the web layer sends."""
    for code, explanation in EXPLANATIONS.items():
        assert explanation.status != 500, code
        assert any("\u4e00" <= character <= "\u9fff" for character in explanation.zh), code
        assert explanation.en.isascii(), code
        assert (explanation.status == 503) == (explanation.retry_after_s is not None), code
