//! Which seal keeps the root key shut, as the command line says it.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use fleetward_base::SystemRng;
use fleetward_vault::{
    KeyUri, LocalSeal, MasterKey, RootSeal, SecretSource, Tokens, TpmAddress, TpmSeal, TpmSealConfig, TransitAuth,
    TransitSeal, TransitSealConfig,
};

const TPM: &str = "/dev/tpmrm0";

/// What keeps the keys shut at rest.
#[derive(Args, Debug, Clone)]
pub(crate) struct SealArgs {
    /// What keeps the root key shut: file, file:PATH, env:VARIABLE or credential:NAME with a master key; passphrase:SOURCE;
    /// pkcs11:token=LABEL;object=LABEL; tpm or tpm:DEVICE, with ?pcrs=0,7 behind it; transit:https://HOST/MOUNT/KEY of Vault
    /// or OpenBao.
    /// Default: file:DATA_DIR/master.key, made (0600) when absent.
    #[arg(long, env = "FLEETWARD_SEAL", value_name = "SEAL")]
    pub(crate) seal: Option<SealSpec>,

    /// As --seal file:PATH.
    #[arg(long, env = "FLEETWARD_MASTER_KEY_FILE", conflicts_with = "seal")]
    pub(crate) master_key_file: Option<PathBuf>,

    /// As --seal passphrase:env:VARIABLE.
    #[arg(long, value_name = "VARIABLE", conflicts_with_all = ["seal", "master_key_file", "master_key_env"])]
    pub(crate) master_passphrase_env: Option<String>,

    /// As --seal env:VARIABLE.
    #[arg(long, value_name = "VARIABLE", conflicts_with_all = ["seal", "master_key_file"])]
    pub(crate) master_key_env: Option<String>,

    /// Library of the PKCS#11 token, for a seal or for issuing keys in it.
    #[arg(long, env = "FLEETWARD_PKCS11_MODULE", value_name = "PATH", requires = "pkcs11_pin")]
    pub(crate) pkcs11_module: Option<PathBuf>,

    /// Where the token's PIN is: env:NAME, file:PATH or credential:NAME.
    #[arg(long, env = "FLEETWARD_PKCS11_PIN_SOURCE", value_name = "SOURCE")]
    pub(crate) pkcs11_pin: Option<SecretSource>,

    /// Where the token of Vault or OpenBao is.
    #[arg(long, env = "FLEETWARD_TRANSIT_TOKEN_SOURCE", value_name = "SOURCE", conflicts_with = "transit_role_id")]
    pub(crate) transit_token: Option<SecretSource>,

    /// AppRole to sign in to Vault or OpenBao with, instead of a token.
    #[arg(long, env = "FLEETWARD_TRANSIT_ROLE_ID", requires = "transit_secret_id")]
    pub(crate) transit_role_id: Option<String>,

    /// Where the AppRole's secret id is.
    #[arg(long, env = "FLEETWARD_TRANSIT_SECRET_ID_SOURCE", value_name = "SOURCE")]
    pub(crate) transit_secret_id: Option<SecretSource>,

    /// Namespace in Vault or OpenBao.
    #[arg(long, env = "FLEETWARD_TRANSIT_NAMESPACE")]
    pub(crate) transit_namespace: Option<String>,

    /// Authorities (PEM) to check the certificate of Vault or OpenBao against, instead of the system's.
    #[arg(long, env = "FLEETWARD_TRANSIT_CA_FILE", value_name = "PATH")]
    pub(crate) transit_ca_file: Option<PathBuf>,
}

/// One seal in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SealSpec {
    /// A file with a master key; without a path the one in the data folder.
    File(Option<PathBuf>),
    /// A master key from somewhere else.
    Key(SecretSource),
    Passphrase(SecretSource),
    Pkcs11(KeyUri),
    Tpm(TpmSealConfig),
    /// Address, mount and key.
    Transit(String, String, String),
}

impl FromStr for SealSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match (kind.split('?').next().unwrap_or_default(), rest) {
            ("file", "") => Ok(Self::File(None)),
            ("file", path) => Ok(Self::File(Some(path.into()))),
            ("env" | "credential", _) => text.parse().map(Self::Key).map_err(text_of),
            ("passphrase", source) => source.parse().map(Self::Passphrase).map_err(text_of),
            ("pkcs11", _) => text.parse().map(Self::Pkcs11).map_err(text_of),
            ("tpm", _) => tpm(text).map(Self::Tpm),
            ("transit", address) => transit(address),
            _ => Err("none of file, env, credential, passphrase, pkcs11, tpm and transit".to_owned()),
        }
    }
}

fn text_of(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// `tpm`, `tpm:/dev/tpmrm1`, `tpm:tcp:127.0.0.1:2321`, each with `?pcrs=0,7`.
fn tpm(text: &str) -> Result<TpmSealConfig, String> {
    let (place, query) = text.split_once('?').unwrap_or((text, ""));
    let pcrs = match query {
        "" => Vec::new(),
        query => {
            let list = query.strip_prefix("pcrs=").ok_or("tpm takes ?pcrs=N,N")?;
            list.split(',')
                .map(|pcr| pcr.parse().map_err(|_| format!("{pcr:?} is no PCR")))
                .collect::<Result<_, _>>()?
        }
    };
    let address = match place.strip_prefix("tpm").unwrap_or_default().strip_prefix(':') {
        None | Some("") => TpmAddress::Device(TPM.into()),
        Some(place) => match place.strip_prefix("tcp:") {
            Some(address) => TpmAddress::Tcp(address.parse().map_err(|_| "tpm:tcp:ADDRESS:PORT".to_owned())?),
            None => TpmAddress::Device(place.into()),
        },
    };
    Ok(TpmSealConfig { address, pcrs })
}

/// `https://HOST[:PORT]/MOUNT/KEY`
fn transit(address: &str) -> Result<SealSpec, String> {
    let wrong = || "transit:https://HOST[:PORT]/MOUNT/KEY".to_owned();
    let rest = address.strip_prefix("https://").ok_or_else(wrong)?;
    let (host, path) = rest.split_once('/').ok_or_else(wrong)?;
    let (mount, key) = path.rsplit_once('/').ok_or_else(wrong)?;
    if host.is_empty() || mount.is_empty() || key.is_empty() {
        return Err(wrong());
    }
    Ok(SealSpec::Transit(format!("https://{host}"), mount.to_owned(), key.to_owned()))
}

/// The library of the token that was named, if one was and the program is built for it.
#[derive(Default)]
pub(crate) struct Token {
    #[cfg(feature = "pkcs11")]
    module: Option<fleetward_vault::Module>,
}

impl Token {
    pub(crate) fn tokens(&self) -> Option<Arc<dyn Tokens>> {
        #[cfg(feature = "pkcs11")]
        return self.module.clone().map(|module| Arc::new(module) as Arc<dyn Tokens>);
        #[cfg(not(feature = "pkcs11"))]
        None
    }
}

impl SealArgs {
    /// The seal that the flags choose.
    pub(crate) fn chosen(&self) -> SealSpec {
        if let Some(name) = &self.master_passphrase_env {
            return SealSpec::Passphrase(SecretSource::Variable(name.clone()));
        }
        if let Some(name) = &self.master_key_env {
            return SealSpec::Key(SecretSource::Variable(name.clone()));
        }
        self.seal.clone().unwrap_or_else(|| SealSpec::File(self.master_key_file.clone()))
    }

    /// Loads the library of the token, where one is named.
    pub(crate) fn token(&self) -> anyhow::Result<Token> {
        let Some(library) = &self.pkcs11_module else { return Ok(Token::default()) };
        let source = self.pkcs11_pin.as_ref().context("--pkcs11-pin says where the token's PIN is")?;
        let pin = read(source).context("the token's PIN cannot be read")?;
        #[cfg(feature = "pkcs11")]
        return Ok(Token {
            module: Some(fleetward_vault::Module::load(fleetward_vault::ModuleConfig {
                library: library.clone(),
                pin,
            })?),
        });
        #[cfg(not(feature = "pkcs11"))]
        {
            drop((library, pin));
            bail!("this program was built without pkcs11")
        }
    }

    /// The seal that `spec` says.
    pub(crate) fn open(&self, spec: SealSpec, data_dir: &Path, token: &Token) -> anyhow::Result<Arc<dyn RootSeal>> {
        let local = |key: MasterKey, place: String| Arc::new(LocalSeal::new(key, place));
        Ok(match spec {
            SealSpec::File(path) => {
                let path = path.unwrap_or_else(|| data_dir.join("master.key"));
                local(MasterKey::from_file(&path, &SystemRng)?, format!("file:{}", path.display()))
            }
            SealSpec::Key(source) => local(MasterKey::from_variable(&read(&source)?)?, source.to_string()),
            SealSpec::Passphrase(source) => {
                let salt = data_dir.join("master.salt");
                local(MasterKey::from_passphrase(&read(&source)?, &salt, &SystemRng)?, format!("passphrase:{source}"))
            }
            SealSpec::Pkcs11(uri) => token_seal(token, uri)?,
            SealSpec::Tpm(config) => Arc::new(TpmSeal::new(config)?),
            SealSpec::Transit(address, mount, key) => Arc::new(TransitSeal::new(TransitSealConfig {
                address,
                mount,
                key,
                namespace: self.transit_namespace.clone(),
                auth: self.transit_auth()?,
                ca_file: self.transit_ca_file.clone(),
            })?),
        })
    }

    fn transit_auth(&self) -> anyhow::Result<TransitAuth> {
        match (&self.transit_token, &self.transit_role_id, &self.transit_secret_id) {
            (Some(source), None, _) => Ok(TransitAuth::Token(read(source)?)),
            (None, Some(role), Some(source)) => {
                Ok(TransitAuth::AppRole { role_id: role.clone(), secret_id: read(source)? })
            }
            _ => bail!("a transit seal needs --transit-token, or --transit-role-id with --transit-secret-id"),
        }
    }
}

#[cfg(feature = "pkcs11")]
fn token_seal(token: &Token, uri: KeyUri) -> anyhow::Result<Arc<dyn RootSeal>> {
    let module = token.module.clone().context("a pkcs11 seal needs --pkcs11-module and --pkcs11-pin")?;
    Ok(Arc::new(fleetward_vault::Pkcs11Seal::new(module, uri)))
}

#[cfg(not(feature = "pkcs11"))]
fn token_seal(_: &Token, _: KeyUri) -> anyhow::Result<Arc<dyn RootSeal>> {
    bail!("this program was built without pkcs11")
}

fn read(source: &SecretSource) -> anyhow::Result<fleetward_base::Secret<String>> {
    Ok(source.read(|name| std::env::var(name).ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seals_in_words() {
        let spec = |text: &str| text.parse::<SealSpec>().unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(spec("file"), SealSpec::File(None));
        assert_eq!(spec("file:/etc/k"), SealSpec::File(Some("/etc/k".into())));
        assert_eq!(spec("credential:key"), SealSpec::Key(SecretSource::Credential("key".into())));
        assert_eq!(spec("passphrase:env:P"), SealSpec::Passphrase(SecretSource::Variable("P".into())));
        let device = |path: &str, pcrs: &[u8]| {
            SealSpec::Tpm(TpmSealConfig { address: TpmAddress::Device(path.into()), pcrs: pcrs.to_vec() })
        };
        assert_eq!(spec("tpm"), device(TPM, &[]));
        assert_eq!(spec("tpm?pcrs=0,7"), device(TPM, &[0, 7]));
        assert_eq!(spec("tpm:/dev/tpm1?pcrs=7"), device("/dev/tpm1", &[7]));
        let address = TpmAddress::Tcp("127.0.0.1:2321".parse().expect("an address"));
        assert_eq!(spec("tpm:tcp:127.0.0.1:2321"), SealSpec::Tpm(TpmSealConfig { address, pcrs: vec![] }));
        let (vault, mount, key) = ("https://v:8200".to_owned(), "a/transit".to_owned(), "root".to_owned());
        assert_eq!(spec("transit:https://v:8200/a/transit/root"), SealSpec::Transit(vault, mount, key));
        assert!(matches!(spec("pkcs11:token=a;object=b"), SealSpec::Pkcs11(_)));
        for bad in [
            "",
            "nothing",
            "env:",
            "passphrase:secret",
            "tpm?x=1",
            "tpm?pcrs=x",
            "tpm:tcp:x",
            "transit:http://v/m/k",
            "transit:https://v",
            "pkcs11:token=a",
        ] {
            assert!(bad.parse::<SealSpec>().is_err(), "{bad}");
        }
    }
}
