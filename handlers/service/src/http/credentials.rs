//! What a device may show to be let in over MQTT, and the policy that says what it may do then.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};
use statecast_state::DeviceKey;
use statecast_store::{Credentials, CredentialsChange, Hash};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Http;
use super::auth::Devices;
use super::devices::unknown;
use super::extract::{Device, Json};
use super::policies;
use super::problem::Problem;
use crate::access::{passwords, policy};

/// Certificates of a device at most: the present one, the next one, and some to spare.
const CERTIFICATES_MAX: usize = 4;

pub(super) fn routes() -> OpenApiRouter<Http> {
    OpenApiRouter::new().routes(routes!(read, change))
}

/// What a device may show, without its secrets.
#[derive(Serialize, ToSchema)]
struct Shown {
    /// It has a token.
    token: bool,
    /// It has a password.
    password: bool,
    /// SHA-256 of each certificate that is bound to it, in hexadecimal digits. With any, no other is taken.
    certificates: Vec<String>,
    /// The policy that says what it may do.
    policy: String,
}

impl From<Credentials> for Shown {
    fn from(known: Credentials) -> Self {
        Self {
            token: known.token.is_some(),
            password: known.password.is_some(),
            certificates: known.certificates.iter().map(hex::encode).collect(),
            policy: known.policy.unwrap_or_else(|| policy::DEVICES.to_owned()),
        }
    }
}

/// Tells what a device may show to be let in, without secrets.
#[utoipa::path(get, path = "/v1/devices/{id}/credentials", params(("id" = String, Path)), responses((status = 200, body = Shown), (status = 404, body = Problem)), tag = "access")]
async fn read(State(http): State<Http>, device: Device<Devices>) -> Result<Response, Problem> {
    answer(&http, &device.key).await
}

/// What is to change. What isn't named stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Change {
    /// `null` takes the token away. A new one is made by `PUT /v1/devices/{id}`.
    #[serde(deserialize_with = "named")]
    #[schema(value_type = Option<Object>)]
    token: Option<Option<Never>>,
    /// A password of 8 to 128 bytes; `null` takes it away. A device of another tenant than `default` connects with the
    /// user name `tenant/device`.
    #[serde(deserialize_with = "named")]
    #[schema(value_type = Option<String>)]
    password: Option<Option<String>>,
    /// SHA-256 of each certificate (DER) that is taken for the device, in hexadecimal digits; at most 4. With none, the
    /// device of the default tenant that a certificate names counts.
    certificates: Option<Vec<String>>,
    /// The policy that says what it may do; `null` for `default`.
    #[serde(deserialize_with = "named")]
    #[schema(value_type = Option<String>)]
    policy: Option<Option<String>>,
}

/// A secret that can't be given.
#[derive(Deserialize)]
enum Never {}

/// Tells `null` from what isn't there.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

fn fingerprint(text: &str) -> Result<Hash, Problem> {
    // As openssl prints it, with colons, or without.
    let bytes = hex::decode(text.replace(':', "")).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| Problem::bad_request(format!("{text:?} isn't a SHA-256 in hexadecimal digits")))
}

/// Changes what a device may show to be let in. Connections whose credential is gone end; others have their new rights.
#[utoipa::path(patch, path = "/v1/devices/{id}/credentials", params(("id" = String, Path)), request_body = Change, responses((status = 200, body = Shown), (status = 400, body = Problem), (status = 404, body = Problem)), tag = "access")]
async fn change(
    State(http): State<Http>,
    device: Device<Devices>,
    Json(change): Json<Change>,
) -> Result<Response, Problem> {
    if let Some(Some(name)) = &change.policy {
        policies::find(&http, &device.key.tenant, name).await?;
    }
    let certificates = match &change.certificates {
        Some(all) if all.len() > CERTIFICATES_MAX => {
            return Err(Problem::bad_request(format!(
                "a device has at most {CERTIFICATES_MAX} certificates"
            )));
        }
        Some(all) => Some(all.iter().map(|text| fingerprint(text)).collect::<Result<_, _>>()?),
        None => None,
    };
    let password = match change.password {
        Some(Some(password)) => Some(Some(hashed(&http, password).await?)),
        other => other,
    };
    let change = CredentialsChange {
        token: change.token.map(|_| None),
        password,
        certificates,
        policy: change.policy,
    };
    if !http.store.change_credentials(&device.key, &change).await? {
        return Err(unknown(&device.key));
    }
    answer(&http, &device.key).await
}

async fn hashed(http: &Http, password: String) -> Result<String, Problem> {
    if let Some(problem) = passwords::unfit(&password) {
        return Err(Problem::bad_request(problem));
    }
    http.gate.passwords.hash(password).await.map_err(|none| Problem::unavailable(none.to_string()))
}

async fn answer(http: &Http, key: &DeviceKey) -> Result<Response, Problem> {
    let known = http.store.credentials(std::slice::from_ref(key)).await?.pop().flatten();
    let shown = Shown::from(known.ok_or_else(|| unknown(key))?);
    Ok(axum::Json(shown).into_response())
}
