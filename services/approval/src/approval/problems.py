"""All refusals of the service: a code, the HTTP status, and the texts for the citizen and the operator."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Status and texts of one code. `retry_after_s` is sent as Retry-After, so that clients retry with the same key."""

    status: int
    zh: str
    en: str
    retry_after_s: int | None = None


class Problem(Exception):
    """A refusal. `field` names the refused part of the request."""

    def __init__(self, code: str, field: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.field = field
        self.explanation = EXPLANATIONS[code]

    def body(self) -> dict[str, str]:
        """Return the JSON body of the response."""
        body = {"code": self.code, "message": self.explanation.zh, "message_en": self.explanation.en}
        return body | ({"field": self.field} if self.field else {})


def _e(status: int, zh: str, en: str, retry_after_s: int | None = None) -> Explanation:
    return Explanation(status=status, zh=zh, en=en, retry_after_s=retry_after_s)


EXPLANATIONS: dict[str, Explanation] = {
    "body_malformed": _e(400, "提交的内容不是有效的 JSON。", "The body is not valid JSON."),
    "body_encoding": _e(400, "提交的内容不是有效的 UTF-8 文本。", "The body is not valid UTF-8."),
    "body_too_large": _e(413, "提交的内容过大，最多 16 KB。", "The body is too large; at most 16 KiB."),
    "head_too_large": _e(431, "请求头过大。", "The request's head is too large; at most 32 KiB."),
    "too_slow": _e(
        408, "提交超时，请用同一编号重试，不会重复办理。", "The request came too slowly. Retry with the same key."
    ),
    "content_type": _e(
        415,
        "提交的内容类型应为 UTF-8 编码的 application/json。",
        "The content type must be application/json in UTF-8.",
    ),
    "content_encoding": _e(415, "提交的内容不能压缩。", "The body must not be compressed."),
    "key_missing": _e(400, "缺少请求编号（Idempotency-Key）。", "The header Idempotency-Key is missing."),
    "key_invalid": _e(400, "请求编号必须是标准 UUID。", "The key must be a canonical UUID."),
    "key_reused": _e(
        409,
        "该请求编号已用于另一份申请，请使用新的编号。",
        "This key was used with another body; use a new key.",
    ),
    "field_unknown": _e(422, "包含未定义的字段。", "The body has an unknown field."),
    "field_missing": _e(422, "缺少必填字段。", "A required field is missing."),
    "field_type": _e(422, "字段类型不正确。", "A field has the wrong type."),
    "name_length": _e(422, "姓名长度应为 2 至 40 个字符。", "A name has 2 to 40 characters."),
    "name_control": _e(422, "姓名含有不可见字符。", "The name has invisible characters."),
    "name_dot": _e(422, "姓名中的间隔号请使用“·”（U+00B7）。", "Separate the parts of a name with U+00B7."),
    "name_lookalike": _e(
        422,
        "姓名含有全角或形似字符，请按身份证输入汉字。",
        "The name has full-width or look-alike characters.",
    ),
    "name_characters": _e(
        422,
        "姓名只能是汉字，可用间隔号“·”分隔，请按身份证填写。",
        "A name has Han characters only, as on the identity card, with the middle dot between its parts.",
    ),
    "id_number_malformed": _e(
        422,
        "身份证号码应为 17 位数字加一位数字或大写 X（半角）。",
        "An identity number is 17 digits and a digit or X.",
    ),
    "id_number_region": _e(
        422, "身份证号码的行政区划代码不存在。", "The region of the identity number is not assigned."
    ),
    "id_number_birth": _e(422, "身份证号码中的出生日期无效。", "The identity number has an impossible date of birth."),
    "id_number_check_digit": _e(
        422, "身份证号码校验位不正确，请核对。", "The check digit of the identity number is wrong."
    ),
    "mobile_malformed": _e(
        422,
        "手机号码应为 11 位中国大陆手机号码，前面可加 +86。",
        "A mobile number has the 11 digits of a mainland number, with or without +86.",
    ),
    "mobile_synthetic": _e(
        422,
        "154 开头的手机号码仅用于演练，演练申请只能填写此类号码。",
        "Mobile numbers that start with 154 are synthetic; synthetic applicants, and only these, have one.",
    ),
    "synthetic_mismatch": _e(
        422,
        "演练标记与身份证号码不一致：99 开头的号码仅用于演练。",
        "Numbers that start with 99, and only these, are synthetic.",
    ),
    "synthetic_off": _e(403, "本系统不接受演练申请。", "Synthetic applicants are switched off here."),
    "degree_level": _e(422, "学历应为本科、硕士、博士或无。", "The level is bachelor, master, doctor or none."),
    "degree_year": _e(422, "毕业年份无效。", "The year of graduation is out of range."),
    "degree_incomplete": _e(422, "请填写毕业院校和毕业年份。", "University and year of graduation are required."),
    "text_length": _e(422, "文字过长、为空或首尾有空格。", "The text is too long, empty, or has blanks at its ends."),
    "text_control": _e(422, "文字含有不可见字符。", "The text has invisible characters."),
    "text_lookalike": _e(422, "文字含有全角或形似字符。", "The text has full-width or look-alike characters."),
    "district_unknown": _e(422, "拟落户区不存在，请从列表选择。", "There is no such district; choose one of the list."),
    "not_found": _e(404, "没有找到该申请。", "There is no such application."),
    "path_unknown": _e(404, "没有这个页面。", "There is no such page."),
    "method_not_allowed": _e(405, "不支持的请求方法。", "The method is not allowed here."),
    "request_refused": _e(400, "请求无效。", "The request is not valid."),
    "no_primary": _e(
        503,
        "系统正在切换数据中心，您的申请尚未受理，请稍后用同一编号重试，不会重复办理。",
        "There is no writable database now; nothing was stored. Retry with the same key.",
        1,
    ),
    "commit_unknown": _e(
        503,
        "暂时无法确认办理结果，请稍后用同一编号重试，不会重复办理。",
        "Whether the application was stored is unknown. Retry with the same key.",
        1,
    ),
    "unprotected": _e(
        503,
        "数据异地副本暂不可用，为保证数据安全暂停受理，请稍后用同一编号重试。",
        "No synchronous copy is configured, so nothing is accepted. Retry with the same key.",
        2,
    ),
    "overloaded": _e(
        503,
        "当前办理人数较多，请稍后用同一编号重试。",
        "The service is busy; nothing was stored. Retry with the same key.",
        1,
    ),
    "no_read": _e(503, "暂时无法查询，请稍后重试。", "No local copy of the data can be read now.", 1),
    "catching_up": _e(503, "本中心正在追赶最新数据，请稍候。", "This site's copy of the data is still catching up.", 1),
    "internal": _e(503, "系统繁忙，请稍后用同一编号重试。", "An unexpected fault; retry with the same key.", 2),
}
