//! Variable-length integers, zigzag. Source: KIP-98; Protocol Buffers encoding.
