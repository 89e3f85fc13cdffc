//! What is in the index of a twin: terms that decide what matches, columns that decide what comes first.
//!
//! | field | holds |
//! |---|---|
//! | `key` | tenant and device: what an update replaces |
//! | `tenant` | which tenant: part of every search |
//! | `facts` | a term for each property that exists, and for each value; see [`crate::facts`] |
//! | `words` | the words of all strings and of the id, with their places, for words and phrases; see [`crate::facts`] |
//! | `id` | the device id as a column: the answer, and what decides between equals |
//! | `version` | the version of the twin as a column, to check the index against the table |
//! | `seen` | when the last message was received, in microseconds, as a column |
//! | `values` | the values of each property as columns: ranges, order and counts |
//!
//! Nothing is stored beside them: who wants the twin asks the database.

use statecast_state::DeviceKey;
use statecast_state::query::text;
use tantivy::Index;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, JsonObjectOptions, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer};

use crate::facts;

/// Rises with every change of what is written into the index; an index with another one is built anew.
pub(crate) const SCHEMA_VERSION: u32 = 2;
/// The columns, by name.
pub(crate) const ID_COLUMN: &str = "id";
pub(crate) const SEEN_COLUMN: &str = "seen";
pub(crate) const VERSION_COLUMN: &str = "version";
pub(crate) const VALUES_COLUMN: &str = "values";

const WORDS: &str = "words";

/// The fields of the schema.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields {
    pub(crate) key: Field,
    pub(crate) tenant: Field,
    pub(crate) facts: Field,
    pub(crate) words: Field,
    pub(crate) id: Field,
    pub(crate) version: Field,
    pub(crate) seen: Field,
    pub(crate) values: Field,
}

/// The schema and its fields, always the same.
pub(crate) fn build() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let words = TextFieldIndexing::default()
        .set_tokenizer(WORDS)
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::WithFreqsAndPositions);
    let fields = Fields {
        key: schema.add_bytes_field("key", INDEXED),
        tenant: schema.add_bytes_field("tenant", INDEXED),
        facts: schema.add_bytes_field("facts", INDEXED),
        words: schema.add_text_field("words", TextOptions::default().set_indexing_options(words)),
        id: schema.add_text_field(ID_COLUMN, TextOptions::default().set_fast("raw")),
        version: schema.add_u64_field(VERSION_COLUMN, FAST),
        seen: schema.add_i64_field(SEEN_COLUMN, FAST),
        values: schema.add_json_field(VALUES_COLUMN, JsonObjectOptions::default().set_fast("raw")),
    };
    (schema.build(), fields)
}

/// The term of a device: sorted as [`DeviceKey`]s are, as neither part may hold a zero.
pub(crate) fn key_bytes(key: &DeviceKey) -> Vec<u8> {
    [key.tenant.as_str().as_bytes(), &[0], key.device.as_str().as_bytes()].concat()
}

/// Tells an index how text is cut into words.
pub(crate) fn register_tokenizer(index: &Index) {
    index.tokenizers().register(WORDS, TextAnalyzer::builder(Words).build());
}

/// Cuts text into words as the query language does, each behind its tenant ([`crate::facts::Scope::words`]).
#[derive(Clone)]
struct Words;

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream {
        let (scope, text) = facts::unscoped(text);
        // The first word has place 0.
        let token = Token { text: scope.to_owned(), ..Token::default() };
        WordStream { scope: scope.len(), text: text::fold(text), behind: 0, token }
    }
}

/// The words of one text.
struct WordStream {
    /// How much each word begins with: whose it is.
    scope: usize,
    text: String,
    /// The place in the text behind the last word.
    behind: usize,
    token: Token,
}

impl TokenStream for WordStream {
    fn advance(&mut self) -> bool {
        let Some((word, behind)) = text::next_token(&self.text, self.behind) else { return false };
        self.behind = behind;
        self.token.position = self.token.position.wrapping_add(1);
        self.token.text.truncate(self.scope);
        self.token.text.push_str(word);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}
