//! From the bytes of a configuration file to a [`Config`]. Errors name file, line and key.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::{
    ChildSettings, Config, RESERVED_SERVER_NAME, RemoteConfig, ServerConfig, Settings, StdioConfig,
    Transport,
    expand::{ExpandError, expand},
};

/// Why there is no configuration. All are the user's to mend; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}{}", file.display(), hint(source))]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is there but is no valid configuration.
    #[error("{}:{line}:{column}: {message}{}", file.display(), in_key(key))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// Path of the key, such as `mcpServers.time.args`; empty when the JSON itself is broken.
        key: String,
        /// What is wrong there.
        message: String,
    },
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "; create it with an \"mcpServers\" object, or name another by --config"
        }
        _ => "",
    }
}

fn in_key(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(" (in {key})") }
}

/// Reads and checks a configuration file.
pub fn load(file: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| ConfigError::Read { file: file.to_owned(), source })?;
    parse(&text, file, &|name| std::env::var(name).ok())
}

/// Parses a configuration. `file` is used in errors only; `lookup` gives environment variables.
pub fn parse(
    text: &str,
    file: &Path,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let malformed = |error: &serde_json::Error, key: String| ConfigError::Malformed {
        file: file.to_owned(),
        line: error.line(),
        column: error.column(),
        key,
        message: without_position(&error.to_string()),
    };
    let raw: RawConfig = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let key = error.path().to_string();
        let broken = error.inner().is_syntax() || error.inner().is_eof();
        malformed(error.inner(), if broken || key == "." { String::new() } else { key })
    })?;
    deserializer.end().map_err(|error| malformed(&error, String::new()))?;

    let settings = raw.orchestrator;
    let servers: BTreeMap<String, ServerConfig> = raw
        .mcp_servers
        .0
        .into_iter()
        .map(|(name, server)| {
            let server = server.into_config(&name, &settings.of_server(&name), lookup);
            (name, server)
        })
        .collect();
    // A slip of the pen: settings that silently have no effect would be worse than an error.
    let overlays = settings.servers.keys().map(|name| (name, name, format!("servers.{name}")));
    let allowed = settings.execute.allow_destructive.iter();
    let allowed = allowed.map(|entry| {
        (entry, entry.split(':').next().unwrap_or_default(), "execute.allowDestructive".to_owned())
    });
    let mut named = overlays.map(|(entry, name, key)| (entry, name.as_str(), key)).chain(allowed);
    if let Some((entry, unknown, key)) = named.find(|(_, name, _)| !servers.contains_key(*name)) {
        return Err(ConfigError::Malformed {
            file: file.to_owned(),
            line: line_of(text, entry),
            column: 1,
            key: format!("orchestrator.{key}"),
            message: format!("there is no server \"{unknown}\" under mcpServers"),
        });
    }
    Ok(Config { servers, settings })
}

/// The last line that holds `name` in quotes, from 1.
fn line_of(text: &str, name: &str) -> usize {
    let quoted = Value::from(name).to_string();
    let last = text.lines().enumerate().filter(|(_, line)| line.contains(&quoted)).last();
    last.map_or(1, |(at, _)| at + 1)
}

/// `serde_json` ends its messages with the position, which we print in front.
fn without_position(message: &str) -> String {
    message.rfind(" at line ").map_or(message, |end| &message[..end]).to_owned()
}

/// Other top-level keys belong to the host whose file this may be, and are left alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawConfig {
    #[serde(default)]
    mcp_servers: Servers,
    #[serde(default)]
    orchestrator: Settings,
}

/// Unknown keys are other hosts' (`autoApprove`, `timeout`, …) and are left alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawServer {
    #[serde(rename = "type", alias = "transport")]
    kind: Option<String>,
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<String>,
    #[serde(alias = "serverUrl")]
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    disabled: bool,
}

impl RawServer {
    /// An entry that cannot be used is kept with its reason: one bad server stops no other.
    fn into_config(
        self,
        name: &str,
        settings: &ChildSettings,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> ServerConfig {
        let disabled = self.disabled;
        let transport = match check_name(name) {
            Err(reason) => Transport::Invalid(reason),
            Ok(()) => self.transport(lookup).unwrap_or_else(Transport::Invalid),
        };
        ServerConfig { transport, disabled, settings: *settings }
    }

    fn transport(self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Transport, String> {
        let value = |key: &str, text: &str| {
            expand(text, lookup).map_err(|error: ExpandError| format!("{key}: {error}"))
        };
        let values = |key: &str, map: BTreeMap<String, String>| {
            map.into_iter()
                .map(|(name, text)| Ok((name.clone(), value(&format!("{key}.{name}"), &text)?)))
                .collect::<Result<BTreeMap<_, _>, String>>()
        };
        match (self.command, self.url) {
            (Some(_), Some(_)) => {
                Err("has both \"command\" and \"url\"; keep the one that is meant".to_owned())
            }
            (Some(command), None) => {
                if command.trim().is_empty() {
                    return Err("\"command\" is empty".to_owned());
                }
                Ok(Transport::Stdio(StdioConfig {
                    command: value("command", &command)?,
                    args: self
                        .args
                        .iter()
                        .enumerate()
                        .map(|(at, arg)| value(&format!("args[{at}]"), arg))
                        .collect::<Result<_, _>>()?,
                    env: values("env", self.env)?,
                    cwd: self.cwd.map(|cwd| value("cwd", &cwd)).transpose()?.map(PathBuf::from),
                }))
            }
            (None, Some(url)) => Ok(Transport::Remote(RemoteConfig {
                kind: self.kind.unwrap_or_else(|| "http".to_owned()),
                url: value("url", &url)?,
                headers: values("headers", self.headers)?,
            })),
            (None, None) => Err("has neither \"command\" (a program to start) nor \"url\"".to_owned()),
        }
    }
}

/// A server's name stands before the colon of `server:tool` and in log lines.
fn check_name(name: &str) -> Result<(), String> {
    let problem = if name.is_empty() || name.chars().count() > 64 {
        "a server's name has 1 to 64 characters"
    } else if name == RESERVED_SERVER_NAME {
        "this name is taken by the orchestrator itself"
    } else if name.chars().any(|character| character == ':' || character.is_control()) {
        "a server's name has no colon and no control character"
    } else {
        return Ok(());
    };
    Err(format!("{problem}; rename it under mcpServers"))
}

/// A map that refuses a name given twice: JSON readers would silently drop the first.
#[derive(Default)]
struct Servers(BTreeMap<String, RawServer>);

impl<'de> Deserialize<'de> for Servers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Servers;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of servers by name")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Servers, A::Error> {
                let mut servers = BTreeMap::new();
                while let Some((name, server)) = map.next_entry::<String, RawServer>()? {
                    if servers.contains_key(&name) {
                        return Err(de::Error::custom(format!("server \"{name}\" is given twice")));
                    }
                    servers.insert(name, server);
                }
                Ok(Servers(servers))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Config, ConfigError> {
        parse(text, Path::new("config.json"), &|name| (name == "TOKEN").then(|| "secret".to_owned()))
    }

    fn message(text: &str) -> String {
        parsed(text).expect_err("a bad configuration is refused").to_string()
    }

    #[test]
    fn a_hosts_own_file_is_understood() {
        let config = parsed(
            r#"{"globalShortcut": "x", "mcpServers": {
                "time": {"command": "uvx", "args": ["mcp-server-time"], "env": {"KEY": "${TOKEN}"}},
                "off": {"command": "x", "disabled": true, "autoApprove": []},
                "far": {"type": "http", "url": "https://example.com/mcp", "headers": {"Authorization": "${TOKEN}"}}}}"#,
        )
        .unwrap();
        let Transport::Stdio(time) = &config.servers["time"].transport else { panic!("stdio") };
        assert_eq!(time.env["KEY"], "secret");
        assert!(!format!("{time:?}").contains("secret"), "values of env are not shown");
        assert!(config.servers["off"].disabled);
        assert!(
            matches!(&config.servers["far"].transport, Transport::Remote(far) if far.url == "https://example.com/mcp")
        );
    }

    #[test]
    fn errors_name_file_line_and_key() {
        assert_eq!(
            message("{\n  \"mcpServers\": {\n    \"a\": {\"command\": \"x\", \"args\": \"-y\"}}}"),
            "config.json:3:38: invalid type: string \"-y\", expected a sequence (in mcpServers.a.args)"
        );
        let unknown = message(r#"{"orchestrator": {"timeouts": {"handshke": 3}}}"#);
        assert!(unknown.contains("`handshke`") && unknown.contains("`handshake`"), "{unknown}");
        assert!(unknown.contains("(in orchestrator.timeouts"), "{unknown}");
        assert!(message("{\"mcpServers\": {").starts_with("config.json:1:16: EOF"));
        assert!(
            message(r#"{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}"#)
                .contains("given twice")
        );
        assert!(message("{} trailing").contains("trailing"));
        assert!(message(r#"{"orchestrator": {"timeouts": {"call": -1}}}"#).contains("seconds"));
    }

    #[test]
    fn one_bad_server_stops_no_other() {
        let config = parsed(
            r#"{"mcpServers": {"a": {"command": "x", "args": ["${MISSING}"]}, "b": {"command": "y"},
                "c": {}, "orchestrator": {"command": "z"}, "x:y": {"command": "z"}}}"#,
        )
        .unwrap();
        let reason = |name: &str| match &config.servers[name].transport {
            Transport::Invalid(reason) => reason.clone(),
            other => panic!("{name} should be invalid: {other:?}"),
        };
        assert!(reason("a").contains("args[0]") && reason("a").contains("MISSING"));
        assert!(reason("c").contains("neither"));
        assert!(reason("orchestrator").contains("taken"));
        assert!(reason("x:y").contains("colon"));
        assert!(matches!(config.servers["b"].transport, Transport::Stdio(_)));
    }

    #[test]
    fn a_changed_credential_keeps_the_fingerprint_and_a_changed_program_does_not() {
        let server = |text: &str| parsed(text).unwrap().servers["a"].fingerprint();
        let base = server(r#"{"mcpServers": {"a": {"command": "x", "env": {"K": "1"}}}}"#);
        assert_eq!(base, server(r#"{"mcpServers": {"a": {"command": "x", "env": {"K": "2"}}}}"#));
        assert_ne!(base, server(r#"{"mcpServers": {"a": {"command": "y", "env": {"K": "1"}}}}"#));
    }
}
