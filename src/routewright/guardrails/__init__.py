"""Guardrails: what looks at requests before they go, and at answers before they reach their client.

A guardrail is a class with the contract of `contract.py`: it is shown texts, and may change them or raise `Blocked`.
Ours are local and quick; one asks a server (`webhook.py`); others come as plug-ins by entry points. Where in a request
or an answer the texts stand is known by `wire/texts.py` and `wire/event_texts.py` alone, for every client's dialect, so
no guardrail knows a dialect.

Streams are followed as they go where a guardrail can (`window.py`): what may still become part of a finding is kept
back, and nothing else, so the client gets the same bytes of text however the upstream cut its events. Where a guardrail
has to see an answer whole, the stream is held until its end.

Nothing here runs for a request that no guardrail looks at, and nothing is imported into the line but `around.py`.
"""
