//! Message ids: the position of a message's first append in the shape of a UUID.
//!
//! A topic's id is a random UUID of version 4. The partition's index is XORed into the bits above the version, the
//! offset into the 62 bits below the variant, so version and variant stay, ids within a topic never collide, and ids
//! of two topics collide as rarely as their own.
//!
//! ```text
//! bit 127                      80 79..76  75..64   63..62   61                0
//!  topic id ^ partition index    | version |      | variant | topic id ^ offset
//! ```

use duolog_record::Offset;
use uuid::Uuid;

const OFFSET_BITS: u32 = 62;

/// The id of the record at this place.
#[must_use]
pub fn of_place(topic: u128, partition_index: u32, offset: Offset) -> Uuid {
    let offset = u128::from(offset.0 & ((1 << OFFSET_BITS) - 1));
    Uuid::from_u128(topic ^ (u128::from(partition_index) << 80) ^ offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_by_topic_partition_and_offset_and_look_like_uuids() {
        let topic = 0x1234_5678_9abc_4def_8123_4567_89ab_cdef;
        let ids = [
            of_place(topic, 0, Offset(0)),
            of_place(topic, 0, Offset(1)),
            of_place(topic, 1, Offset(0)),
            of_place(topic, 1, Offset((1 << 62) - 1)),
            of_place(topic ^ (1 << 100), 0, Offset(0)),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(id.get_version_num(), 4);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            assert!(ids[..index].iter().all(|other| other != id));
        }
    }
}
