//! Lists and maps of a request of which a bounded number is kept and the rest only counted: a short JSON text must not
//! become a large structure.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::text::Text;

/// The first `N` elements of a list, and how many there were.
#[derive(Clone, Debug)]
pub struct Few<T, const N: usize> {
    /// Those that were kept.
    pub kept: Vec<T>,
    /// How many there were.
    pub count: usize,
}

impl<T, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self { kept: Vec::new(), count: 0 }
    }
}

/// The first `N` pairs of a map in the order in which they stand, and how many there were.
#[derive(Clone, Debug)]
pub struct Pairs<'a, T, const N: usize> {
    /// Those that were kept.
    pub kept: Vec<(Text<'a>, T)>,
    /// How many there were.
    pub count: usize,
}

impl<T, const N: usize> Default for Pairs<'_, T, N> {
    fn default() -> Self {
        Self { kept: Vec::new(), count: 0 }
    }
}

struct FewVisitor<T, const N: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for FewVisitor<T, N> {
    type Value = Few<T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Few::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut few = Few::default();
        while few.kept.len() < N {
            match list.next_element()? {
                Some(element) => few.kept.push(element),
                None => break,
            }
        }
        few.count = few.kept.len();
        while list.next_element::<IgnoredAny>()?.is_some() {
            few.count += 1;
        }
        Ok(few)
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FewVisitor(PhantomData))
    }
}

struct PairsVisitor<'a, T, const N: usize>(PhantomData<&'a T>);

impl<'de: 'a, 'a, T: Deserialize<'de>, const N: usize> Visitor<'de> for PairsVisitor<'a, T, N> {
    type Value = Pairs<'a, T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Pairs::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Pairs::default();
        while pairs.kept.len() < N {
            match map.next_entry()? {
                Some(pair) => pairs.kept.push(pair),
                None => break,
            }
        }
        pairs.count = pairs.kept.len();
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            pairs.count += 1;
        }
        Ok(pairs)
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de> + 'a, const N: usize> Deserialize<'de> for Pairs<'a, T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PairsVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_rest_is_counted_and_not_kept() {
        let few: Few<u8, 2> = serde_json::from_str("[1,2,3,{\"x\":[]}]").unwrap();
        assert_eq!((few.kept, few.count), (vec![1, 2], 4));
        let pairs: Pairs<'_, u8, 2> = serde_json::from_str(r#"{"b":1,"a":2,"c":"text"}"#).unwrap();
        assert_eq!((pairs.kept[0].0.as_str(), pairs.kept.len(), pairs.count), ("b", 2, 3));
    }

    #[test]
    fn null_is_empty_and_another_kind_is_refused() {
        assert_eq!(serde_json::from_str::<Few<u8, 2>>("null").unwrap().count, 0);
        assert!(serde_json::from_str::<Few<u8, 2>>("{}").is_err());
        assert!(serde_json::from_str::<Pairs<'_, u8, 2>>("[]").is_err());
        assert!(serde_json::from_str::<Few<u8, 2>>("[1,\"x\"]").is_err());
    }
}
