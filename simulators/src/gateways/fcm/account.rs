//! The service account: the key that a project's server signs with, in the file that Google gives for it.

use anyhow::{Context, anyhow};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::RsaKeyPair;
use serde_json::{Value, json};

/// An RSA key (PKCS #8, 2,048 bits). It is here for all to read because it opens nothing but this simulation, and
/// because making one takes longer than all else that a gateway does.
const KEY: &[u8] = include_bytes!("account.der");
/// The id of that key.
const KEY_ID: &str = "6d0b1f3c5a7e9d2b4f6081a3c5e7092b4d6f8a1c";
/// The project whose phones can be reached.
pub(super) const PROJECT: &str = "statecast-simulated";

/// A service account that may send.
pub(crate) struct Account {
    /// Who signs.
    pub(super) email: String,
    /// Where its assertions are exchanged for tokens.
    pub(super) token_uri: String,
    /// What its signatures are checked with: an RSAPublicKey (PKCS #1).
    pub(super) public_key: Vec<u8>,
}

impl Account {
    /// The account of the project, whose tokens are made at this origin.
    pub(crate) fn new(origin: &str) -> anyhow::Result<Self> {
        let key = RsaKeyPair::from_pkcs8(KEY).map_err(|error| anyhow!("read the key: {error}"))?;
        Ok(Self {
            email: format!("push@{PROJECT}.iam.gserviceaccount.com"),
            token_uri: format!("{origin}/token"),
            public_key: key.public().as_ref().to_vec(),
        })
    }

    /// The id that its assertions must name.
    pub(super) fn key_id(&self) -> &'static str {
        KEY_ID
    }

    /// The file that a server is given.
    pub(crate) fn file(&self) -> anyhow::Result<Value> {
        let text = BASE64_STANDARD.encode(KEY);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(std::str::from_utf8)
            .collect::<Result<_, _>>()
            .context("write the key")?;
        let (label, key) = ("PRIVATE KEY", lines.join("\n"));
        Ok(json!({
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": KEY_ID,
            "private_key": format!("-----BEGIN {label}-----\n{key}\n-----END {label}-----\n"),
            "client_email": self.email,
            "client_id": "100000000000000000000",
            "token_uri": self.token_uri,
        }))
    }
}
