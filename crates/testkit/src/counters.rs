//! Counts of what happened in runs, each with the words in which it is shown, so that none is forgotten in a sum or a table.

/// Declares a struct of counts: a field each, its words, `add` and `rows`.
macro_rules! counters {
    ($(#[$about:meta])* $name:ident { $($field:ident = $words:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $(#[doc = $words] pub $field: u64,)*
        }

        impl $name {
            /// Adds what another run counted.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            /// Each count and its words, in the order of the fields.
            #[must_use]
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$(($words, self.$field),)*]
            }
        }
    };
}

pub(crate) use counters;
