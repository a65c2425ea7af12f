"""Messages 短信通知: deliver the decisions in the approval service's outbox as text messages, at least once."""
