//! Finding people by their tags, in the query language of devices: `team:ops -away:true`, `id:anna`, `role:(a OR b)`.
//!
//! A person is looked at as if a device with its id had reported its tags.

use super::{CompiledPerson, Person, PersonError};
use crate::{DeviceId, Query, QueryError, Timestamp, Twin};

/// A query over people.
#[derive(Debug, Clone, PartialEq)]
pub struct Audience(Query);

impl Audience {
    /// Reads a query.
    ///
    /// # Errors
    /// `QueryError` when it isn't one, or depends on time: who is told is worked out ahead.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let query = Query::parse(text)?;
        if query.needs().time {
            return Err(QueryError::new(1, "an audience can't use a time relative to now"));
        }
        Ok(Self(query))
    }

    /// Whether the person is in it.
    pub fn has(&self, person: &CompiledPerson) -> bool {
        self.0.matches(&person.likeness, Timestamp::from_micros(0))
    }
}

/// The device that a person looks like.
pub(super) fn likeness(person: &Person) -> Result<Twin, PersonError> {
    let tags = person.form.tags.clone();
    Ok(Twin { reported: tags.clone(), tags, ..Twin::new(DeviceId::parse(&person.id)?) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn people_are_found_by_id_and_tags() {
        let person: Person =
            serde_json::from_value(json!({"id":"anna","tags":{"team":"ops","sites":["lab","roof"]}}))
                .unwrap();
        let anna = CompiledPerson::new(person).unwrap();
        for (query, is_in) in [
            ("team:ops", true),
            ("tags.team:ops sites:roof", true),
            ("id:anna", true),
            ("", true),
            ("team:dev", false),
            ("-team:ops", false),
        ] {
            assert_eq!(Audience::parse(query).unwrap().has(&anna), is_in, "{query}");
        }
        assert!(Audience::parse("team:ops since:>-1h").unwrap_err().to_string().contains("relative to now"));
    }
}
