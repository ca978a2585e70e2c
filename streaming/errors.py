"""How a micro-batch can fail to be decided other than by a bug."""


class StoppedError(Exception):
    """A stop was asked for while something waited or before a micro-batch began. Nothing was scored half."""


class KafkaRefusedError(Exception):
    """Kafka refused a request; ``name``: of its error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name, text)
        self.name = name
