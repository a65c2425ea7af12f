"""The texts of the messages. They name no person and no reason: a phone may be read by others."""

from collections.abc import Mapping

TEMPLATES: Mapping[str, str] = {
    "approved": "【深圳政务】您的毕业生落户申请（受理号{number}）已批准，无需再交材料。详情请凭申请编号在线查询。",
    "rejected": "【深圳政务】您的毕业生落户申请（受理号{number}）未通过。原因及申诉办法请凭申请编号在线查询。",
    "manual_review": "【深圳政务】您的毕业生落户申请（受理号{number}）已转人工审核，结果将另行通知，请勿重复申请。",
}
"""One text for each state of an application. Each fits into one short message of 70 characters."""


def render(template: str, application_id: int) -> str:
    """Return the text of a message. Raise KeyError for an unknown template."""
    return TEMPLATES[template].format(number=application_id)
