//! Derives a structure, its defaults and both directions of its wire form from one declaration.
//!
//! ```text
//! message! { Name {
//!     field: Type [versions];                        present at these versions, otherwise the type's default
//!     field: Type [versions] = value;                the same with another default
//!     field: Type [versions] null [versions];        an `Option` that may be null only at the second versions
//!     field: Type [versions] tag 3;                  a tagged field: written only if it differs from the default
//! } }
//! ```

macro_rules! message {
    ($(
        $(#[$meta:meta])*
        $name:ident {$(
            $field:ident : $kind:ty [$($versions:tt)*]
                $(tag $tag:literal)? $(null [$($null:tt)*])? $(= $default:expr)?;
        )*}
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(pub $field: $kind,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::codec::message::default_of!($($default)?),)* }
            }
        }

        impl $crate::codec::Wire for $name {
            #[allow(unused_mut, unused_variables)]
            fn encode(&self, to: &mut $crate::codec::Encoder) {
                let version = to.version();
                $($crate::codec::message::encode_field!(
                    self, to, version, $field [$($versions)*] $(tag $tag)? $(null [$($null)*])?
                );)*
                if to.flexible() {
                    let mut tags: Vec<(u32, bytes::Bytes)> = Vec::new();
                    $($crate::codec::message::encode_tagged!(
                        self, tags, version, $field [$($versions)*] $(tag $tag)?
                    );)*
                    to.put_tags(&tags);
                }
            }

            #[allow(unused_variables)]
            fn decode(
                from: &mut $crate::codec::Decoder,
            ) -> Result<Self, $crate::codec::DecodeError> {
                let version = from.version();
                let mut this = Self::default();
                $($crate::codec::message::decode_field!(
                    this, from, version, $field [$($versions)*] $(tag $tag)?
                );)*
                if from.flexible() {
                    from.tags(|from, tag| {
                        $($crate::codec::message::decode_tagged!(
                            this, from, version, tag, $field [$($versions)*] $(tag $tag)?
                        );)*
                        Ok(())
                    })?;
                }
                Ok(this)
            }
        }

        #[cfg(test)]
        impl $crate::codec::oracle::Sample for $name {
            #[allow(unused_variables)]
            fn sample(from: &mut $crate::codec::oracle::Source, version: i16) -> Self {
                let mut this = Self::default();
                $($crate::codec::message::sample_field!(
                    this, from, version, $field [$($versions)*] $(null [$($null)*])?
                );)*
                this
            }
        }
    )*};
}

macro_rules! default_of {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

macro_rules! encode_field {
    ($this:ident, $to:ident, $version:ident, $field:ident [$($versions:tt)*] tag $tag:literal) => {};
    ($this:ident, $to:ident, $version:ident, $field:ident [$($versions:tt)*] null [$($null:tt)*]) => {
        if std::ops::RangeBounds::contains(&($($versions)*), &$version) {
            if std::ops::RangeBounds::contains(&($($null)*), &$version) {
                $crate::codec::Wire::encode(&$this.$field, $to);
            } else {
                $crate::codec::Wire::encode_present(&$this.$field, $to);
            }
        }
    };
    ($this:ident, $to:ident, $version:ident, $field:ident [$($versions:tt)*]) => {
        if std::ops::RangeBounds::contains(&($($versions)*), &$version) {
            $crate::codec::Wire::encode(&$this.$field, $to);
        }
    };
}

macro_rules! encode_tagged {
    ($this:ident, $tags:ident, $version:ident, $field:ident [$($versions:tt)*]) => {};
    ($this:ident, $tags:ident, $version:ident, $field:ident [$($versions:tt)*] tag $tag:literal) => {
        if std::ops::RangeBounds::contains(&($($versions)*), &$version)
            && $this.$field != Self::default().$field
        {
            $crate::codec::Encoder::tag(&mut $tags, $tag, $version, |to| {
                $crate::codec::Wire::encode(&$this.$field, to);
            });
        }
    };
}

macro_rules! decode_tagged {
    ($this:ident, $from:ident, $version:ident, $found:ident, $field:ident [$($versions:tt)*]) => {};
    ($this:ident, $from:ident, $version:ident, $found:ident, $field:ident [$($versions:tt)*] tag $tag:literal) => {
        if $found == $tag && std::ops::RangeBounds::contains(&($($versions)*), &$version) {
            $this.$field = $crate::codec::Wire::decode($from)?;
        }
    };
}

macro_rules! decode_field {
    ($this:ident, $from:ident, $version:ident, $field:ident [$($versions:tt)*] tag $tag:literal) => {};
    ($this:ident, $from:ident, $version:ident, $field:ident [$($versions:tt)*]) => {
        if std::ops::RangeBounds::contains(&($($versions)*), &$version) {
            $this.$field = $crate::codec::Wire::decode($from)?;
        }
    };
}

#[cfg(test)]
macro_rules! sample_field {
    ($this:ident, $from:ident, $version:ident, $field:ident [$($versions:tt)*] null [$($null:tt)*]) => {
        if std::ops::RangeBounds::contains(&($($versions)*), &$version) {
            $this.$field = if std::ops::RangeBounds::contains(&($($null)*), &$version) {
                $crate::codec::oracle::Sample::sample($from, $version)
            } else {
                $crate::codec::oracle::Sample::present($from, $version)
            };
        }
    };
    ($this:ident, $from:ident, $version:ident, $field:ident [$($versions:tt)*]) => {
        if std::ops::RangeBounds::contains(&($($versions)*), &$version) {
            $this.$field = $crate::codec::oracle::Sample::sample($from, $version);
        }
    };
}

#[cfg(test)]
pub(crate) use sample_field;
pub(crate) use {decode_field, decode_tagged, default_of, encode_field, encode_tagged, message};
