//! The API's `long` where it is not negative: 63 bits. A greater number could be kept here, but clients
//! in languages without unsigned numbers could not read it again.

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected},
};

pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    match i64::try_from(number) {
        Ok(_) => Ok(number),
        Err(_) => Err(D::Error::invalid_value(
            Unexpected::Unsigned(number),
            &"a number of at most 63 bits",
        )),
    }
}

pub(super) fn read_optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    struct Long(#[serde(deserialize_with = "read")] u64);

    let number = Option::<Long>::deserialize(deserializer)?;
    Ok(number.map(|Long(number)| number))
}
