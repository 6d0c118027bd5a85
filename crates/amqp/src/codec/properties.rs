//! [`Properties`]: what a message carries beside its body.
//!
//! ```text
//! flags:16, the first property in the highest bit; bit 0: another word of flags follows (never)
//! the properties that are flagged, in their order
//! ```
//! Source: AMQP 0-9-1, 4.2.6.1 and class `basic`; RabbitMQ `decode_properties`, which does not look at bit 1.

use super::wire::{Field, Reader, Writer};
use super::{Malformed, RawTable, ShortStr};

const FLAGS_GO_ON: u16 = 1;

macro_rules! properties {
    ($($(#[$attr:meta])* $bit:literal $field:ident: $type:ty;)*) => {
        /// The properties of a message, borrowed from the frame that they came in.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Properties<'a> {
            $($(#[$attr])* pub $field: Option<$type>,)*
        }

        impl<'a> Properties<'a> {
            /// The properties of these bytes: [`super::ContentHeader::properties`].
            ///
            /// # Errors
            /// [`Malformed`] if they are none.
            pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
                let mut from = Reader::new(bytes);
                let flags = u16::read(&mut from)?;
                if flags & FLAGS_GO_ON != 0 {
                    return Err(Malformed::PropertyFlags);
                }
                let properties = Self {
                    $($field: if flags & (1 << $bit) == 0 { None } else { Some(<$type>::read(&mut from)?) },)*
                };
                from.finish()?;
                Ok(properties)
            }

            /// Appends flags and properties.
            pub fn encode(&self, out: &mut Vec<u8>) {
                let flags: u16 = $((u16::from(self.$field.is_some()) << $bit))|*;
                let mut to = Writer::new(out);
                flags.write(&mut to);
                $(if let Some(value) = &self.$field { value.write(&mut to); })*
            }
        }
    };
}

properties! {
    /// MIME type of the body.
    15 content_type: ShortStr<'a>;
    /// MIME encoding of the body.
    14 content_encoding: ShortStr<'a>;
    /// What the application and exchanges of type `headers` look at.
    13 headers: RawTable<'a>;
    /// 2 if it is to outlive the broker, 1 if not.
    12 delivery_mode: u8;
    /// 0 to 255, the higher the sooner.
    11 priority: u8;
    /// To which request this is the reply.
    10 correlation_id: ShortStr<'a>;
    /// The queue where a reply is awaited.
    9 reply_to: ShortStr<'a>;
    /// After how many milliseconds it is of no use; decimal digits.
    8 expiration: ShortStr<'a>;
    /// The application's name for it.
    7 message_id: ShortStr<'a>;
    /// When it was sent, in seconds since 1970.
    6 timestamp: u64;
    /// The application's type of it.
    5 kind: ShortStr<'a>;
    /// Who published it; checked.
    4 user_id: ShortStr<'a>;
    /// Which application published it.
    3 app_id: ShortStr<'a>;
    /// Of no use in this version.
    2 cluster_id: ShortStr<'a>;
}

impl Properties<'_> {
    /// None at all, encoded.
    pub const NONE: &'static [u8] = &[0, 0];
}

#[cfg(test)]
mod tests;
