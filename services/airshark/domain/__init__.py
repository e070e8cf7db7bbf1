"""What the spectrum service decides: no gRPC, no protos, no devices."""
