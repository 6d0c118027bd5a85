//! Receipt handles: a lease's identity with a mark and a checksum, so that a mangled or foreign handle is told apart
//! from one that is merely old.
//!
//! ```text
//! base64( mark "dq" | lease id, 36 bytes | CRC-32C of both, big-endian )     42 bytes, 56 characters
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use duolog_broker::LeaseId;
use duolog_record::crc32c;

const MARK: [u8; 2] = *b"dq";
const SUMMED: usize = 2 + LeaseId::BYTES;
const BYTES: usize = SUMMED + 4;
/// Characters of a handle.
pub const CHARS: usize = BYTES / 3 * 4;

/// Writes a handle.
#[must_use]
pub fn encode(id: LeaseId) -> String {
    let mut bytes = [0; BYTES];
    bytes[..2].copy_from_slice(&MARK);
    bytes[2..SUMMED].copy_from_slice(&id.to_bytes());
    let sum = crc32c(&bytes[..SUMMED]);
    bytes[SUMMED..].copy_from_slice(&sum.to_be_bytes());
    STANDARD.encode(bytes)
}

/// Reads a handle; `None` if we never wrote it.
#[must_use]
pub fn decode(handle: &str) -> Option<LeaseId> {
    if handle.len() != CHARS {
        return None;
    }
    let mut bytes = [0; BYTES];
    let length = STANDARD.decode_slice(handle, &mut bytes).ok()?;
    let sum = u32::from_be_bytes(bytes[SUMMED..].try_into().ok()?);
    if length != BYTES || bytes[..2] != MARK || crc32c(&bytes[..SUMMED]) != sum {
        return None;
    }
    Some(LeaseId::from_bytes(bytes[2..SUMMED].try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use duolog_broker::QueueId;
    use duolog_record::{Offset, PartitionId};

    use super::*;

    fn lease() -> LeaseId {
        LeaseId {
            queue: QueueId(7),
            partition: PartitionId(u64::MAX),
            offset: Offset(1 << 40),
            incarnation: 3,
            attempt: 2,
        }
    }

    #[test]
    fn a_handle_comes_back() {
        let handle = encode(lease());
        assert_eq!(handle.len(), CHARS);
        assert_eq!(decode(&handle), Some(lease()));
    }

    #[test]
    fn any_change_is_noticed() {
        let handle = encode(lease());
        for at in 0..handle.len() {
            let mut bytes = handle.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(decode(&String::from_utf8_lossy(&bytes)), None, "at {at}");
        }
        for handle in
            ["", "nonsense", &handle[1..], &format!("{handle}A"), &"=".repeat(CHARS), &"ä".repeat(28)]
        {
            assert_eq!(decode(handle), None);
        }
    }
}
