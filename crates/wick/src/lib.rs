//! What an answer imports, and the answering end of the protocol.
