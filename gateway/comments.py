"""Comments of the protos, as descriptors carry them."""

from google.protobuf.descriptor_pb2 import FileDescriptorProto

# Numbers of the fields of descriptor.proto that make up the path of a comment.
FILE_MESSAGE, FILE_ENUM, FILE_SERVICE = 4, 5, 6
MESSAGE_FIELD, MESSAGE_NESTED, MESSAGE_ENUM = 2, 3, 4
ENUM_VALUE, SERVICE_METHOD = 2, 2

Path = tuple[int, ...]


def comments_of(file: FileDescriptorProto) -> dict[Path, str]:
    """Returns the comments of a file by where they stand."""
    return {
        tuple(location.path): "\n".join(
            line.removeprefix(" ") for line in location.leading_comments.rstrip().split("\n")
        )
        for location in file.source_code_info.location
        if location.leading_comments
    }
