//! A TPM in software: swtpm with a maker of its own, in a temporary folder.

use std::path::Path;
use std::process::{Command, Stdio};

use fleetward_agent::tpm::Place;
use fleetward_attest::tpm::Tpm;
use tempfile::TempDir;

pub(crate) struct Swtpm {
    dir: TempDir,
    pub(crate) place: Place,
}

fn quiet(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("scripts/setup.sh test installs swtpm");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

impl Swtpm {
    /// A new TPM whose RSA endorsement key has a certificate of its maker.
    pub(crate) fn new() -> Self {
        let dir = TempDir::with_prefix("fleetward-tpm-").expect("a folder");
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir_all(dir.path().join("state")).expect("a folder");
        let authority = format!(
            "statedir = {0}\nsigningkey = {0}/signkey.pem\nissuercert = {0}/issuercert.pem\ncertserial = {0}/serial\n",
            dir.path().display()
        );
        std::fs::write(path("localca.conf"), authority).expect("writes");
        let options = "--platform-manufacturer Fleetward\n--platform-version 1\n--platform-model test\n";
        std::fs::write(path("localca.options"), options).expect("writes");
        let setup = format!(
            "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {}\n\
             create_certs_tool_options = {}\nactive_pcr_banks = sha256\n",
            path("localca.conf"),
            path("localca.options")
        );
        std::fs::write(path("setup.conf"), setup).expect("writes");
        quiet(
            Command::new("swtpm_setup")
                .args(["--tpm2", "--create-ek-cert", "--tpmstate", &path("state"), "--config", &path("setup.conf")])
                .args(["--logfile", &path("setup.log")]),
        );
        let socket = path("tpm.sock");
        Self::start(dir.path(), &socket);
        Self { place: Place::Unix(socket), dir }
    }

    /// The program goes into the background once its sockets listen: that it returns is the event.
    fn start(dir: &Path, socket: &str) {
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--server"]);
        command.arg(format!("type=unixio,path={socket}"));
        command.arg("--ctrl").arg(format!("type=unixio,path={socket}.ctrl"));
        command.arg("--tpmstate").arg(format!("dir={}", dir.join("state").display()));
        command.arg("--daemon").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().expect("swtpm starts").success(), "swtpm did not begin");
        assert!(Path::new(socket).exists(), "swtpm is ready without its socket");
    }

    pub(crate) fn open(&self) -> Tpm {
        self.place.open().expect("a connection")
    }

    /// The certificates that its maker signs with, PEM: the issuing one and the root.
    pub(crate) fn maker(&self) -> [String; 2] {
        ["issuercert.pem", "swtpm-localca-rootca-cert.pem"]
            .map(|name| std::fs::read_to_string(self.dir.path().join(name)).expect("reads"))
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let Place::Unix(socket) = &self.place else { return };
        Command::new("swtpm_ioctl").args(["--unix", &format!("{socket}.ctrl"), "-s"]).status().ok();
    }
}
