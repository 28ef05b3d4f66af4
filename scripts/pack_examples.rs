//! Makes models/example-tasks.jsonl.gz from recorded tool lists and example files:
//! `cargo run --example pack-examples -- ../shared/servers TASKS.jsonl...`. A later file's tasks are
//! added to those of an earlier one.

use std::{collections::BTreeMap, env, error::Error, fs, io::Write, path::Path};

use orchestrator::{
    catalog::Tool,
    examples::{ExampleLine, PackedServer, PackedTool, tidy},
};
use serde_json::Value;

const OUTPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/example-tasks.jsonl.gz");
/// Level of compression, the highest.
const LEVEL: u32 = 9;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().ok_or("usage: pack-examples FOLDER_OF_TOOL_LISTS TASKS.jsonl...")?;
    let mut tasks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in arguments {
        for line in fs::read_to_string(file)?.lines() {
            let line: ExampleLine = serde_json::from_str(line)?;
            tasks.entry(line.tool).or_default().extend(line.tasks.iter().map(|task| tidy(task)));
        }
    }
    let mut packed = String::new();
    let (mut tools, mut count) = (0, 0);
    for server in fleet(Path::new(&folder))? {
        let name = server["name"].as_str().ok_or("a server has a name")?;
        let server = pack(Path::new(&folder), name, &server, &tasks)?;
        tools += server.tools.len();
        count += server.tools.iter().map(|tool| tool.tasks.len()).sum::<usize>();
        packed.push_str(&serde_json::to_string(&server)?);
        packed.push('\n');
    }
    let mut encoder =
        flate2::write::GzEncoder::new(fs::File::create(OUTPUT)?, flate2::Compression::new(LEVEL));
    encoder.write_all(packed.as_bytes())?;
    encoder.finish()?.sync_all()?;
    let size = fs::metadata(OUTPUT)?.len();
    writeln!(std::io::stdout(), "{count} examples of {tools} tools, {size} bytes: {OUTPUT}")?;
    Ok(())
}

fn fleet(folder: &Path) -> Result<Vec<Value>, Box<dyn Error>> {
    Ok(serde_json::from_slice(&fs::read(folder.join("fleet.json"))?)?)
}

fn pack(
    folder: &Path,
    name: &str,
    server: &Value,
    tasks: &BTreeMap<String, Vec<String>>,
) -> Result<PackedServer, Box<dyn Error>> {
    let listed: Value = serde_json::from_slice(&fs::read(folder.join(format!("{name}.json")))?)?;
    let mut tools = Vec::new();
    for definition in listed["tools"].as_array().ok_or("a list has tools")? {
        let tool = Tool::new(name, serde_json::from_value(definition.clone())?);
        if let Some(tasks) = tasks.get(&tool.id()) {
            tools.push(PackedTool::new(&tool, tasks.clone()));
        }
    }
    Ok(PackedServer {
        name: name.to_owned(),
        packages: vec![package(server)?],
        language: "en".to_owned(),
        tools,
    })
}

/// `npm:@scope/name@1.2` without registry and version.
fn package(server: &Value) -> Result<String, Box<dyn Error>> {
    let package = server["package"].as_str().ok_or("a server has a package")?;
    let name = package.split_once(':').map_or(package, |(_, name)| name);
    let end = name.rfind('@').filter(|at| *at > 0).unwrap_or(name.len());
    Ok(name[..end].to_owned())
}
