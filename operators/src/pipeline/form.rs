//! What a state is made of, as text, so that a checkpoint is told from one whose records have other fields.
//!
//! `postcard` writes neither names nor types: fields that changed places would be read as each other. So a checkpoint says what its states
//! are made of: the fields of each struct and the variants of each enum, in their order, with what they are. That is asked of a type's
//! `Deserialize`, by a deserializer that has nothing to read: it notes what it is asked for, and gives ones, empty texts, and lists
//! of one element. An enum has one variant at a time, so it is asked several times, each time for the next.
//!
//! The trap: a type may refuse what it is given, and what stands behind that is not seen then. But the answer is always the same for
//! one type, so nothing is ever refused that did not change.

use crate::panics::caught;
use serde::de::value::U32Deserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};

/// How often a type with enums is asked: as many variants of one are seen, which is more than those of this crate's states have.
const TIMES: usize = 16;

/// How many values may be asked for in all, and how deep they may be in each other: a type that contains itself has no end.
const MOST_VALUES: usize = 5_000;
const DEEPEST: usize = 32;

/// What a type is made of, each struct and enum once.
pub(super) fn form_of<S: DeserializeOwned>() -> Vec<String> {
    let mut probe = Probe::default();
    for _ in 0..TIMES {
        (probe.depth, probe.met_enum) = (0, false);
        if let Ok(true) = caught(|| S::deserialize(&mut probe).is_ok()) {
            let whole = probe.kind.clone();
            probe.enter(whole);
        }
        if !probe.met_enum {
            break;
        }
    }
    probe.entries
}

#[derive(Default)]
struct Probe {
    entries: Vec<String>,
    /// What the last value was.
    kind: String,
    /// How often a variant of an enum was chosen.
    chosen: HashMap<&'static str, usize>,
    met_enum: bool,
    values: usize,
    depth: usize,
}

impl Probe {
    fn enter(&mut self, entry: String) {
        if !self.entries.contains(&entry) {
            self.entries.push(entry);
        }
    }

    fn count(&mut self) -> Result<(), Refusal> {
        self.values += 1;
        match self.values > MOST_VALUES || self.depth > DEEPEST {
            true => Err(Refusal),
            false => Ok(()),
        }
    }

    fn deeper<T>(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.count()?;
        self.depth += 1;
        let value = inside(self);
        self.depth -= 1;
        value
    }

    /// What consists of so many values: itself, and what those are that were asked for.
    fn values<'de, V: Visitor<'de>>(
        &mut self,
        count: usize,
        visitor: V,
    ) -> (Result<V::Value, Refusal>, Vec<String>) {
        let mut kinds = Vec::new();
        let value = self.deeper(|probe| {
            visitor.visit_seq(Values {
                probe,
                left: count,
                kinds: &mut kinds,
            })
        });
        (value, kinds)
    }

    /// A value that has a name, with its fields.
    fn fields<'de, V: Visitor<'de>>(
        &mut self,
        name: &str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let (value, kinds) = self.values(fields.len(), visitor);
        let kinds = kinds.into_iter().map(Some).chain(std::iter::repeat(None));
        let fields = fields.iter().zip(kinds).map(|(field, kind)| match kind {
            Some(kind) => format!("{field}: {kind}"),
            None => (*field).to_owned(),
        });
        let fields: Vec<String> = fields.collect();
        self.enter(format!("{name} {{ {} }}", fields.join(", ")));
        name.clone_into(&mut self.kind);
        value
    }

    /// A value that has a name, with what it consists of.
    fn named<'de, V: Visitor<'de>>(
        &mut self,
        name: &str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let (value, kinds) = self.values(count, visitor);
        self.enter(format!("{name}({})", kinds.join(", ")));
        name.clone_into(&mut self.kind);
        value
    }
}

macro_rules! plain {
    ($($method:ident: $kind:literal, $visit:ident($($value:expr)?);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            self.count()?;
            self.kind = $kind.to_owned();
            visitor.$visit($($value)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Probe {
    type Error = Refusal;

    // Not zeros, which some numbers must not be.
    plain! {
        deserialize_bool: "bool", visit_bool(false);
        deserialize_i8: "i8", visit_i8(1);
        deserialize_i16: "i16", visit_i16(1);
        deserialize_i32: "i32", visit_i32(1);
        deserialize_i64: "i64", visit_i64(1);
        deserialize_i128: "i128", visit_i128(1);
        deserialize_u8: "u8", visit_u8(1);
        deserialize_u16: "u16", visit_u16(1);
        deserialize_u32: "u32", visit_u32(1);
        deserialize_u64: "u64", visit_u64(1);
        deserialize_u128: "u128", visit_u128(1);
        deserialize_f32: "f32", visit_f32(1.0);
        deserialize_f64: "f64", visit_f64(1.0);
        deserialize_char: "char", visit_char('1');
        deserialize_str: "text", visit_str("");
        deserialize_string: "text", visit_str("");
        deserialize_bytes: "bytes", visit_bytes(&[]);
        deserialize_byte_buf: "bytes", visit_bytes(&[]);
        deserialize_unit: "()", visit_unit();
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        // What contains itself ends here.
        if self.depth > DEEPEST / 2 {
            "..?".clone_into(&mut self.kind);
            return visitor.visit_none();
        }
        let value = self.deeper(|probe| visitor.visit_some(probe));
        self.kind.push('?');
        value
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let count = usize::from(self.depth <= DEEPEST / 2);
        let (value, kinds) = self.values(count, visitor);
        self.kind = format!("[{}]", kinds.join(", "));
        value
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let (value, kinds) = self.values(count, visitor);
        self.kind = format!("({})", kinds.join(", "));
        value
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let count = usize::from(self.depth <= DEEPEST / 2);
        let mut kinds = Vec::new();
        let value = self.deeper(|probe| {
            visitor.visit_map(Values {
                probe,
                left: count,
                kinds: &mut kinds,
            })
        });
        self.kind = format!("[{}]", kinds.join(" -> "));
        value
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.count()?;
        name.clone_into(&mut self.kind);
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let value = self.deeper(|probe| visitor.visit_newtype_struct(probe))?;
        self.enter(format!("{name}({})", self.kind));
        name.clone_into(&mut self.kind);
        Ok(value)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.named(name, count, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.fields(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.met_enum = true;
        self.enter(format!("{name} = {}", variants.join(" | ")));
        let chosen = self.chosen.entry(name).or_default();
        let index = chosen.checked_rem(variants.len()).ok_or(Refusal)?;
        *chosen += 1;
        let variant = format!("{name}::{}", variants[index]);
        let value = self.deeper(|probe| {
            visitor.visit_enum(Variant {
                probe,
                index: index as u32,
                name: variant,
            })
        });
        name.clone_into(&mut self.kind);
        value
    }

    // `postcard` can neither of these.
    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Refusal> {
        Err(Refusal)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Refusal> {
        Err(Refusal)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Refusal> {
        Err(Refusal)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// So many values, or entries of a map; and what they were.
struct Values<'a> {
    probe: &'a mut Probe,
    left: usize,
    kinds: &'a mut Vec<String>,
}

impl Values<'_> {
    fn value<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        let value = seed.deserialize(&mut *self.probe)?;
        self.kinds.push(self.probe.kind.clone());
        Ok(value)
    }
}

impl<'de> SeqAccess<'de> for Values<'_> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.value(seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Values<'_> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        self.value(seed)
    }
}

/// The variant that was chosen, `Enum::Variant`.
struct Variant<'a> {
    probe: &'a mut Probe,
    index: u32,
    name: String,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Refusal;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Refusal> {
        let index: U32Deserializer<Refusal> = self.index.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refusal> {
        let value = seed.deserialize(&mut *self.probe)?;
        let entry = format!("{}({})", self.name, self.probe.kind);
        self.probe.enter(entry);
        Ok(value)
    }

    fn tuple_variant<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value, Refusal> {
        self.probe.named(&self.name, count, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.probe.fields(&self.name, fields, visitor)
    }
}

/// A type refused what it was given, or has no end.
#[derive(Debug)]
struct Refusal;

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("what a type is made of can't be seen further")
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: Display>(_message: T) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::form_of;
    use serde::Deserialize;
    use std::collections::BTreeMap;
    use std::num::NonZeroU8;

    #[test]
    fn structs_have_their_fields_in_order_and_what_they_are() {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only its form matters")]
        struct Flight {
            month: NonZeroU8,
            carrier: Option<String>,
            stops: Vec<(Stop, char)>,
            seen: BTreeMap<String, f64>,
        }
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only its form matters")]
        struct Stop(u16);
        assert_eq!(
            form_of::<(bool, Flight)>(),
            [
                "Stop(u16)",
                "Flight { month: u8, carrier: text?, stops: [(Stop, char)], seen: [text -> f64] }",
                "(bool, Flight)"
            ]
        );
    }

    #[test]
    fn enums_have_all_their_variants() {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only its form matters")]
        enum Shape {
            Point,
            Circle(u8),
            Box(u16, u32),
            Text { size: u64 },
        }
        let form = form_of::<Vec<Shape>>();
        let expected = [
            "Shape = Point | Circle | Box | Text",
            "[Shape]",
            "Shape::Circle(u8)",
            "Shape::Box(u16, u32)",
            "Shape::Text { size: u64 }",
        ];
        assert_eq!(form, expected);
    }

    #[test]
    fn a_type_that_contains_itself_or_refuses_everything_has_a_form_too() {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only its form matters")]
        struct Tree {
            left: Vec<Tree>,
            right: Option<Box<Tree>>,
        }
        assert!(form_of::<Tree>().contains(&"Tree { left: [Tree], right: Tree? }".to_owned()));

        struct Picky;
        impl<'de> Deserialize<'de> for Picky {
            fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                Err(serde::de::Error::custom("not this"))
            }
        }
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only its form matters")]
        struct Around {
            number: u8,
            picky: Picky,
            unseen: u8,
        }
        assert_eq!(
            form_of::<Around>(),
            ["Around { number: u8, picky, unseen }"]
        );
    }
}
