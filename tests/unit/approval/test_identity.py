"""Checks of identity numbers and names."""

from datetime import date

import pytest
from approval.identity import check_digit, id_number_problem, name_problem, normal_mobile, text_problem

TODAY = date(2026, 6, 1)
GOOD = "99001119990228001"


def numbered(first17: str) -> str:
    """Return the number with its correct check digit."""
    return first17 + check_digit(first17)


def test_the_standards_own_example_has_its_check_digit():
    """11010519491231002X is the number printed in GB 11643."""
    assert check_digit("11010519491231002") == "X"


def test_every_wrong_check_digit_is_refused():
    """All ten other check characters are tried."""
    right = numbered(GOOD)
    for character in set("0123456789X") - {right[17]}:
        assert id_number_problem(right[:17] + character, TODAY) == "id_number_check_digit"


def test_every_single_wrong_digit_is_noticed():
    """The check digit detects each change of one digit, even if the reported code is a different one."""
    right = numbered(GOOD)
    for position in range(17):
        for digit in set("0123456789") - {right[position]}:
            assert id_number_problem(right[:position] + digit + right[position + 1 :], TODAY) is not None


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("", "id_number_malformed"),
        (numbered(GOOD)[:17], "id_number_malformed"),
        (numbered(GOOD) + "0", "id_number_malformed"),
        ("11010519491231002x", "id_number_malformed"),
        ("１１０１０５１９４９１２３１００２X", "id_number_malformed"),
        ("11010519491231٠٠2X", "id_number_malformed"),
        ("X1010519491231002X", "id_number_malformed"),
        (numbered("98010519491231002"), "id_number_region"),
        (numbered("11010519490230002"), "id_number_birth"),
        (numbered("11010518991231002"), "id_number_birth"),
        (numbered("11010520260602002"), "id_number_birth"),
    ],
)
def test_an_impossible_number_is_refused_with_its_reason(number, code):
    """Each problem has its own code."""
    assert id_number_problem(number, TODAY) == code


@pytest.mark.parametrize("name", ["王伟", "欧阳娜娜", "阿依古丽·买买提", "㐂田", "𠮷野", "〇三"])
def test_names_as_printed_on_the_card_are_accepted(name):
    """They have Han characters of all planes, and the middle dot between parts."""
    assert name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "name_length"),
        ("王", "name_length"),
        ("王" * 41, "name_length"),
        ("王\u200b伟", "name_control"),
        ("王\u0000伟", "name_control"),
        ("王\u202e伟", "name_control"),
        ("王\ue000伟", "name_control"),
        ("王\n伟", "name_control"),
        ("阿依古丽・买买提", "name_dot"),
        ("阿依古丽•买买提", "name_dot"),
        ("阿依古丽.买买提", "name_dot"),
        ("Ｗａｎｇ", "name_lookalike"),
        ("王\u2f24", "name_lookalike"),
        ("\uf9d1王", "name_lookalike"),
        ("Wang Wei", "name_characters"),
        ("王а", "name_characters"),
        ("王 伟", "name_characters"),
        ("王\u2e84", "name_characters"),
        ("·王伟", "name_characters"),
        ("王··伟", "name_characters"),
        ("王伟·", "name_characters"),
        ("王伟1", "name_characters"),
        ("王ー", "name_characters"),
    ],
)
def test_other_names_are_refused_with_their_reason(name, code):
    """Look-alikes, full-width forms, hidden characters and foreign letters each have their own code."""
    assert name_problem(name) == code


@pytest.mark.parametrize(
    "text",
    ["13800138000", "+8613800138000", "+86 13800138000", "+86-138-0013-8000", "138 0013 8000", "138-0013-8000"],
)
def test_every_usual_form_of_a_mobile_number_is_normalised(text):
    """With and without the country code, and with the usual groups."""
    assert normal_mobile(text) == "13800138000"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1380013800",
        "138001380000",
        "12800138000",
        "23800138000",
        "8613800138000",
        "+85213800138000",
        "+86  13800138000",
        "1 3800138000",
        " 13800138000",
        "13800138000\n",
        "１３８００１３８０００",
        "1380013800٠",
        "138.0013.8000",
        "13800138000;15400000000",
    ],
)
def test_anything_else_is_no_mobile_number(text):
    """Landlines, other countries, other digits and other separators are refused."""
    assert normal_mobile(text) is None


def test_free_text_may_have_full_width_brackets_but_no_other_full_width_character():
    """Names of universities have such brackets: 哈尔滨工业大学（深圳）."""
    assert text_problem("哈尔滨工业大学（深圳）", 60) is None
    assert text_problem("深圳市ＡＢＣ公司", 60) == "text_lookalike"
    assert text_problem(" 深圳大学", 60) == "text_length"
    assert text_problem("", 60) == "text_length"
    assert text_problem("大" * 61, 60) == "text_length"
    assert text_problem("深圳\t大学", 60) == "text_control"
