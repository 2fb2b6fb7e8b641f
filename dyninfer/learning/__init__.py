"""What learning needs, whatever is learned."""
