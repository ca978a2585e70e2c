"""The file of settings for Kafka clients that FRAUD_KAFKA_CLIENT_FILE names: its syntax, and what it may not set.

Two client libraries are at work, librdkafka and Spark's Java client, and some of their settings have other names. A
plain name goes to both, ``librdkafka.NAME`` and ``java.NAME`` to one. No message says what a setting's value is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_CLIENTS = ("librdkafka", "java")
# What the system decides: where to, who reads what, what is acknowledged, where a card's payments go, how they look.
_OWNED = re.compile(
    r"bootstrap\.servers|metadata\.broker\.list|group\.(id|instance\.id|protocol)|isolation\.level|"
    r"enable\.auto\.(commit|offset\.store)|auto\.(offset\.reset|commit\..*)|(key|value)\.(de)?serializer(\..*)?|"
    r"transactional\.id|enable\.idempotence|(request\.required\.)?acks|partitioner(\..*)?|interceptor\.classes|"
    r"enable\.partition\.eof|delivery\.report\.only\.error"
)


@dataclass
class ClientOptions:
    """What the file gives each client, by the client's own names. ``both``: the names that are written plain."""

    librdkafka: dict[str, str] = field(default_factory=dict, repr=False)
    java: dict[str, str] = field(default_factory=dict, repr=False)
    both: set[str] = field(default_factory=set)


def parse(text: str) -> ClientOptions:
    r"""Lines ``name=value``; ``#`` and ``!`` begin a comment; one that ends in a backslash goes on in the next.

    ValueError, without the value, when a line is none of these, a name comes twice or is not the file's to set.

    >>> parse("# ours\nclient.id = bank\njava.ssl.keystore.type=PEM\nlibrdkafka.debug=security")
    ClientOptions(both={'client.id'})
    """
    options = ClientOptions()
    for number, line in _lines(text):
        name, separator, value = (part.strip() for part in line.partition("="))
        if not separator or not name or re.search(r"\s", name):
            raise ValueError(f"line {number} is not name=value")
        client, _, own_name = name.partition(".")
        wanted, own_name = ((client,), own_name) if client in _CLIENTS else (_CLIENTS, name)
        if _OWNED.fullmatch(own_name):
            raise ValueError(f"line {number} sets {own_name}, which this system decides itself: remove the line")
        for client in wanted:
            of_client = getattr(options, client)
            if own_name in of_client:
                raise ValueError(f"line {number} sets {own_name} once more: leave one of the two")
            of_client[own_name] = value
        if len(wanted) > 1:
            options.both.add(own_name)
    return options


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Number of the first line, and the text, of each setting."""
    begun, first = "", 0
    for number, line in enumerate([*text.lstrip("\ufeff").splitlines(), ""], start=1):
        line = line.strip()
        if not begun and (not line or line[0] in "#!"):
            continue
        first = first if begun else number
        begun += line
        if begun.endswith("\\"):
            begun = begun[:-1]
            continue
        yield first, begun
        begun = ""
