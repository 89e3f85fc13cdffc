//! Which properties the devices of a tenant have: what a person may have meant by a name that finds nothing.

use statecast_state::TenantId;
use statecast_state::query::Field;

use crate::facts::Scope;
use crate::{Search, SearchError, postings, property};

/// Most names that are looked through; further ones, in alphabetical order of each segment, aren't seen.
const NAMES_MAX: usize = 20_000;

impl Search {
    /// Whether any device of the tenant has this field. Blocks, for microseconds.
    ///
    /// # Errors
    /// `Index` when the index fails.
    pub fn has_field(&self, tenant: &TenantId, field: &Field) -> Result<bool, SearchError> {
        if field.path().is_none() {
            return Ok(true);
        }
        let (view, term) = (self.view()?, Scope::of(tenant).exists(&property::name(field)));
        // Where nothing was replaced the first document tells.
        let mut readers: Vec<_> = view.searcher.segment_readers().iter().collect();
        readers.sort_by_key(|reader| reader.num_deleted_docs());
        for reader in readers {
            let inverted = reader.inverted_index(view.fields.facts)?;
            if let Some(info) = inverted.terms().get(&term)?
                && postings::any(reader, &inverted, &info)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The properties that devices of the tenant have, each once, sorted. Blocks, for milliseconds.
    ///
    /// # Errors
    /// `Index` when the index fails.
    pub fn properties(&self, tenant: &TenantId) -> Result<Vec<Field>, SearchError> {
        let (view, prefix) = (self.view()?, Scope::of(tenant).exists(""));
        let mut found = Vec::new();
        for reader in view.searcher.segment_readers() {
            let inverted = reader.inverted_index(view.fields.facts)?;
            let mut terms = inverted.terms().range().ge(&prefix).into_stream()?;
            let mut left = NAMES_MAX;
            while left > 0 && terms.advance() {
                left -= 1;
                let Some(name) = terms.key().strip_prefix(prefix.as_slice()) else { break };
                if let Some(field) = str::from_utf8(name).ok().and_then(property::field)
                    && postings::any(reader, &inverted, terms.value())?
                {
                    found.push(field);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}
