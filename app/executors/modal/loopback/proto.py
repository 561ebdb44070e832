"""What protobuf itself brings, in one place: it has no types of its own to check."""

from google.protobuf.descriptor import (  # type: ignore[import-untyped]
    MethodDescriptor,
    ServiceDescriptor,
)
from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]
from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]
from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]

__all__ = [
    "Empty",
    "GetMessageClass",
    "Message",
    "MethodDescriptor",
    "ServiceDescriptor",
    "Timestamp",
]
