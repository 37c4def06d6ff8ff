"""The response cache: an answer that was given once is given again, to whoever may have it and asks the same.

Where it stands: the gateway's line enters `around.py` where a cache or a guardrail is configured, and only there. A
request that may be cached gets a key (`keys.py`); what is kept under it (`memory.py`) is given at once, without
routing and without an upstream. Otherwise the answer passes through a `Capture` on its way to the client and is kept
when it is whole. Without a cache in the configuration none of this is reached: the line tests one attribute.

What is never kept: errors, streams that broke or that their client left, answers of a fallback in place of the model
that was asked, and whatever the provider does more for than answer (tools that it runs itself, background responses,
stored conversations, sound). Tool calls are kept: they are words until the client acts on them.

Whose it is: a key's team, or the key itself where it has none, unless `scope` says otherwise. What a request says can
only make that narrower.
"""
