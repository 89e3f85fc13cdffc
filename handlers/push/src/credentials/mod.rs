//! What shows providers who we are: keys from files, and the tokens made with them.

pub(crate) mod jwt;
pub(crate) mod google;
pub(crate) mod provider_token;
pub(crate) mod vapid;
