//! A mask as written in a policy.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Unexpected, Visitor},
};

use crate::masking::{DateUnit, FpeShape, Generalise, MaskKind};

/// A mask: `hash`, `null`, `pattern`, `redact`, `token`, `generalise`, or a map with its parameters.
pub(super) struct RawMask(pub(super) MaskKind);

const MASKS: &str = "`generalise`, `hash`, `null`, `pattern`, `redact`, `token`, `{redact: {placeholder: …}}`, \
                     `{partial: {first: n, last: n}}`, `{fpe: card|digits|email|iban|phone}`, \
                     `{generalise: {date: year|month, bucket: n, prefix4: n, prefix6: n}}` or \
                     `{token: {scope: …, reversible: true}}`";

/// A scope stands in every message that is authenticated.
const SCOPE_BYTES_MAX: usize = 255;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPartial {
    /// Characters shown at the start.
    #[serde(default)]
    first: u16,
    /// Characters shown at the end.
    #[serde(default)]
    last: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRedact {
    /// What text columns show.
    placeholder: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawShape {
    Card,
    Digits,
    Email,
    Iban,
    Phone,
}

impl From<RawShape> for FpeShape {
    fn from(shape: RawShape) -> Self {
        match shape {
            RawShape::Card => Self::Card,
            RawShape::Digits => Self::Digits,
            RawShape::Email => Self::Email,
            RawShape::Iban => Self::Iban,
            RawShape::Phone => Self::Phone,
        }
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawUnit {
    Month,
    #[default]
    Year,
}

/// How coarse; the defaults are a year, tens, and the prefixes of one site.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawGeneralise {
    date: RawUnit,
    bucket: RawBucket,
    prefix4: RawPrefix<32>,
    prefix6: RawPrefix<128>,
}

impl Default for RawGeneralise {
    fn default() -> Self {
        let (prefix4, prefix6) = (RawPrefix(24), RawPrefix(64));
        Self { date: RawUnit::Year, bucket: RawBucket(10), prefix4, prefix6 }
    }
}

impl From<RawGeneralise> for Generalise {
    fn from(raw: RawGeneralise) -> Self {
        let date = match raw.date {
            RawUnit::Month => DateUnit::Month,
            RawUnit::Year => DateUnit::Year,
        };
        Self { date, bucket: raw.bucket.0, prefix4: raw.prefix4.0, prefix6: raw.prefix6.0 }
    }
}

/// Multiples of one are all whole numbers.
#[derive(Deserialize)]
#[serde(try_from = "u64")]
struct RawBucket(u64);

impl TryFrom<u64> for RawBucket {
    type Error = String;

    fn try_from(bucket: u64) -> Result<Self, String> {
        match bucket {
            0 | 1 => Err(format!("a bucket of {bucket} hides nothing; allowed: 2 or more")),
            bucket => Ok(Self(bucket)),
        }
    }
}

/// The bits of an address that stay; all of them would hide nothing.
#[derive(Deserialize)]
#[serde(try_from = "u8")]
struct RawPrefix<const BITS: u8>(u8);

impl<const BITS: u8> TryFrom<u8> for RawPrefix<BITS> {
    type Error = String;

    fn try_from(bits: u8) -> Result<Self, String> {
        if bits < BITS {
            Ok(Self(bits))
        } else {
            Err(format!("a prefix of {bits} bits hides nothing; allowed: 0 to {}", BITS - 1))
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawToken {
    /// Columns of one scope have the same tokens; the tag by default.
    scope: Option<RawScope>,
    /// Whether the daemon can turn it back.
    reversible: bool,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct RawScope(String);

impl TryFrom<String> for RawScope {
    type Error = String;

    fn try_from(scope: String) -> Result<Self, String> {
        if scope.is_empty() || scope.len() > SCOPE_BYTES_MAX || scope.contains('\0') {
            let what = format!("1 to {SCOPE_BYTES_MAX} bytes without NUL");
            return Err(format!("`{}` is no scope; allowed: {what}", scope.escape_debug()));
        }
        Ok(Self(scope))
    }
}

impl<'de> Deserialize<'de> for RawMask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Mask)
    }
}

struct Mask;

impl<'de> Visitor<'de> for Mask {
    type Value = RawMask;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASKS)
    }

    fn visit_str<E: serde::de::Error>(self, mask: &str) -> Result<RawMask, E> {
        Ok(RawMask(match mask {
            "generalise" => MaskKind::Generalise(RawGeneralise::default().into()),
            "hash" => MaskKind::Hash,
            "null" => MaskKind::Null,
            "pattern" => MaskKind::Pattern,
            "redact" => MaskKind::Redact { placeholder: None },
            "token" => MaskKind::Token { scope: None, reversible: false },
            other => return Err(E::invalid_value(Unexpected::Str(other), &self)),
        }))
    }

    // `null` without quotes is YAML's own.
    fn visit_unit<E: serde::de::Error>(self) -> Result<RawMask, E> {
        Ok(RawMask(MaskKind::Null))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawMask, A::Error> {
        let kind = match map.next_key::<String>()?.as_deref() {
            Some("fpe") => MaskKind::Fpe(map.next_value::<RawShape>()?.into()),
            Some("generalise") => MaskKind::Generalise(map.next_value::<RawGeneralise>()?.into()),
            Some("partial") => {
                let RawPartial { first, last } = map.next_value()?;
                MaskKind::Partial { first: first.into(), last: last.into() }
            }
            Some("redact") => {
                let RawRedact { placeholder } = map.next_value()?;
                // A NUL byte is valid in UTF-8 and in no PostgreSQL text.
                if placeholder.contains('\0') {
                    return Err(A::Error::custom("a placeholder has no NUL character"));
                }
                MaskKind::Redact { placeholder: Some(placeholder) }
            }
            Some("token") => {
                let RawToken { scope, reversible } = map.next_value()?;
                MaskKind::Token { scope: scope.map(|scope| scope.0), reversible }
            }
            Some(other) => return Err(A::Error::invalid_value(Unexpected::Str(other), &self)),
            None => return Err(A::Error::invalid_value(Unexpected::Map, &self)),
        };
        match map.next_key::<String>()? {
            None => Ok(RawMask(kind)),
            Some(other) => Err(A::Error::custom(format!("second mask `{other}`; allowed: one"))),
        }
    }
}
