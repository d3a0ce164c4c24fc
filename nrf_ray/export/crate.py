"""A sweep as a Provenance Run RO-Crate: the stages that ran, their code, inputs, times and outputs.

The sweep file is the workflow, every kind of stage is one of its tools, and every stage that ran is an action. The
digest stored by the run shows whether the sweep file is still the file that was run. The output of a stage is
represented by its record, which lists the stage's files with size and sha256; the files themselves, models and images,
stay in the store. Profiles: Process, Workflow and Provenance Run Crate 0.5, on RO-Crate 1.1.
"""

import io
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nrf_ray.errors import ConfigError
from nrf_ray.export.fresh import needed, new_folder
from nrf_ray.graph.canonical import digest
from nrf_ray.graph.record import Record
from nrf_ray.results.stored_sweep import KeptSweep
from nrf_ray.tables.stages import STAGES

if TYPE_CHECKING:
    from rocrate.model.computerlanguage import ComputerLanguage
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
PARAMETER = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
WORKFLOW = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
PARQUET = "application/vnd.apache.parquet"
MEDIA = {".svg": "image/svg+xml", ".html": "text/html"}
NO_LICENCE = "No licence is stated: ask the person who gave you this crate."
DONE, FAILED = "http://schema.org/CompletedActionStatus", "http://schema.org/FailedActionStatus"


def write_crate(sweep: KeptSweep, destination: Path, workflow: Path) -> str:
    """Write the crate of `sweep` to the new folder `destination`; return in words what was written.

    `workflow` is the sweep file. Raises ConfigError if it is missing, rocrate is not installed, or no stage of the
    sweep is done.
    """
    library = needed("rocrate.rocrate", "--format rocrate")
    if not workflow.is_file():
        raise ConfigError(f"there is no sweep file {workflow}; name it with --workflow")
    if not sweep.records:
        raise ConfigError(f"no stage of the sweep {sweep.name} is done; run it first")
    with new_folder(destination) as folder:
        writer = _Writer(library.ROCrate(version="1.1"), sweep, workflow)
        writer.write()
        writer.crate.write(folder)
    doubt = (
        "" if _is_as_run(sweep, workflow) else f", with a sweep file {workflow} that {_script_told(sweep, workflow)},"
    )
    return f"a crate of {len(sweep.tables)} tables and {len(sweep.records)} stages{doubt}"


def _is_as_run(sweep: KeptSweep, workflow: Path) -> bool:
    """Return whether `workflow` is, byte for byte, the sweep file of the last run of `sweep`."""
    return digest(workflow.read_bytes()) == sweep.script_sha256


def _script_told(sweep: KeptSweep, workflow: Path) -> str:
    """Return in words whether `workflow` is the sweep file of the last run of `sweep`."""
    if _is_as_run(sweep, workflow):
        return f"is the one of its last run, sha256 {sweep.script_sha256}"
    if sweep.script_sha256:
        return f"is not the one of its last run, which had sha256 {sweep.script_sha256}"
    return "may not be the one of its last run, which kept no digest of it"


class _Writer:
    """Writer of one sweep into one crate; each entity is made once, under a name that says what it is."""

    def __init__(self, crate: "ROCrate", sweep: KeptSweep, workflow: Path) -> None:
        self.crate = crate
        self.sweep = sweep
        self.workflow = workflow
        self.kinds = sorted({(record.stage, record.version) for record in sweep.records.values()})

    def write(self) -> None:
        crate, sweep = self.crate, self.sweep
        crate.name = f"{sweep.name}, a sweep of nrf_ray"
        crate.description = (
            f"The tables of the sweep {sweep.name}, and for each of its {len(sweep.records)} finished stages the "
            "record with its inputs, outputs, metrics and duration."
        )
        crate.license = self._context("#no-licence", "CreativeWork", name=NO_LICENCE, description=NO_LICENCE)
        crate.root_dataset["conformsTo"] = [
            self._context(address, "CreativeWork", name=name, version=address.rpartition("/")[2])
            for address, name in PROFILES.items()
        ]
        workflow = self._workflow()
        runs = [self._run(record) for record in sweep.records.values()]
        failures = [self._failure(row) for row in sweep.stages if row["state"] == "failed"]
        whole = self._whole(workflow)
        controls = [self._control(action, row) for action, row in zip(runs, sweep.records.values(), strict=True)]
        engine = self._engine(controls, whole)
        crate.root_dataset["mentions"] = [whole, engine, *runs, *failures]
        self._readme()

    def _readme(self) -> None:
        text = f"# {self.crate.name}\n\n{self.crate.description}\n\n`ro-crate-metadata.json` says how it was made.\n"
        readme = self._file("README.md", text.encode(), name="README", encodingFormat="text/markdown")
        readme["about"] = self.crate.root_dataset

    def _context(self, identity: str, kind: str, **properties: Any) -> "Entity":
        """Return the contextual entity `identity`; add it if it is new."""
        from rocrate.model.contextentity import ContextEntity

        found: Entity | None = self.crate.get(identity)
        return found or self.crate.add(ContextEntity(self.crate, identity, properties={"@type": kind, **properties}))

    def _file(self, path: str, data: bytes, **properties: Any) -> "Entity":
        entity: Entity = self.crate.add_file(io.BytesIO(data), path, properties=properties)
        return entity

    def _workflow(self) -> "Entity":
        """Add the sweep file with its tools, steps, inputs and outputs."""
        kinds = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
        commits = sorted(
            {str(r.provenance["commit"]) for r in self.sweep.records.values() if r.provenance.get("commit")}
        )
        workflow: Entity = self.crate.add_workflow(
            self.workflow,
            self.workflow.name,
            main=True,
            lang=self._python(),
            properties={
                "@type": kinds,
                "name": self.sweep.name,
                "description": f"the sweep file; it {_script_told(self.sweep, self.workflow)}",
                "version": ", ".join(commits) or "not known",
                "encodingFormat": "text/x-python",
            },
        )
        workflow["conformsTo"] = self._context(WORKFLOW, "CreativeWork", name="ComputationalWorkflow 1.0-RELEASE")
        workflow["hasPart"] = _one_or_all([self._tool(*kind) for kind in self.kinds])
        workflow["step"] = _one_or_all([self._step(position, *kind) for position, kind in enumerate(self.kinds)])
        if any(self._dataset(record.config) for record in self.sweep.records.values()):
            workflow["input"] = self._parameter(
                "input", "dataset", "Text", "the data that everything was made from, by name and digest"
            )
        workflow["output"] = _one_or_all([self._output(table) for table in self.sweep.tables])
        return workflow

    def _python(self) -> "ComputerLanguage":
        from rocrate.model.computerlanguage import ComputerLanguage

        address = "https://www.python.org/"
        properties = {
            "name": "Python",
            "alternateName": "Python",
            "identifier": {"@id": address},
            "url": {"@id": address},
            "version": sorted({str(record.provenance["python"]) for record in self.sweep.records.values()})[-1],
        }
        language: ComputerLanguage = self.crate.add(ComputerLanguage(self.crate, address, properties=properties))
        return language

    def _parameter(self, way: str, name: str, kind: str, description: str) -> "Entity":
        profile = self._context(PARAMETER, "CreativeWork", name="FormalParameter 1.0-RELEASE")
        parameter = self._context(
            f"#{way}-{name}", "FormalParameter", name=name, additionalType=kind, description=description
        )
        parameter["conformsTo"] = profile
        return parameter

    def _output(self, table: str) -> "Entity":
        return self._parameter("output", table, "File", f"{table}.parquet: {_row_of(self.sweep, table)}")

    def _tool(self, stage: str, version: int) -> "Entity":
        return self._context(
            f"#stage-{stage}-{version}",
            "SoftwareApplication",
            name=f"nrf_ray stage {stage}",
            description=f"the stage {stage} of nrf_ray, whose results count as version {version}",
            softwareVersion=str(version),
        )

    def _step(self, position: int, stage: str, version: int) -> "Entity":
        step = self._context(f"#step-{stage}-{version}", "HowToStep", name=stage, position=str(position))
        step["workExample"] = self._tool(stage, version)
        return step

    def _dataset(self, config: Any) -> "Entity | None":
        """Return the dataset in a config, or None if the config has none."""
        named = config.get("dataset") if isinstance(config, dict) else None
        if named is None:
            return None
        entity = self._context(
            f"#dataset-{named['digest'][:16]}",
            "PropertyValue",
            name=named["name"],
            description="sha256 of the content of a dataset that is not in this crate",
            value=named["digest"],
        )
        entity["exampleOfWork"] = {"@id": "#input-dataset"}
        return entity

    def _record(self, record: Record) -> "Entity":
        """Return the record of a stage, which represents the stage's output."""
        name = f"records/{record.stage}/{record.key}.json"
        files = "; ".join(f"{file.name}, {file.size} bytes, sha256 {file.sha256}" for file in record.files)
        found: Entity | None = self.crate.get(name)
        return found or self._file(
            name,
            record.to_bytes(),
            name=_label(record),
            description=f"record of {record.stage} {record.key}; files in the store: {files or 'none'}",
            encodingFormat="application/json",
        )

    def _run(self, record: Record) -> "Entity":
        """Return the action of one finished stage."""
        records = self.sweep.records
        used = [self._record(records[key]) for key in record.inputs.values() if key in records]
        dataset = self._dataset(record.config)
        action = self._context(
            f"#run-{record.key}",
            "CreateAction",
            name=_label(record),
            description=f"{record.stage} version {record.version}, key {record.key}",
            startTime=record.provenance["started"],
            endTime=_end(record).isoformat(),
            actionStatus=DONE,
        )
        action["instrument"] = self._tool(record.stage, record.version)
        action["object"] = _one_or_all([*([dataset] if dataset else []), *used])
        action["result"] = self._record(record)
        return action

    def _failure(self, row: Mapping[str, Any]) -> "Entity":
        """Return the action of a failed stage, which has no record, so that its version and times are unknown."""
        tool = next((self._tool(*kind) for kind in self.kinds if kind[0] == row["stage"]), None)
        action = self._context(
            f"#run-{row['key']}",
            "CreateAction",
            name=row["label"],
            description=f"{row['stage']}, key {row['key']}",
            actionStatus=FAILED,
            error=row["reason"],
        )
        action["instrument"] = tool or self._context(
            f"#stage-{row['stage']}", "SoftwareApplication", name=f"nrf_ray stage {row['stage']}"
        )
        return action

    def _whole(self, workflow: "Entity") -> "Entity":
        """Return the action of the whole sweep."""
        records = self.sweep.records.values()
        started = min(datetime.fromisoformat(record.provenance["started"]) for record in records)
        action = self._context(
            "#sweep",
            "CreateAction",
            name=f"the sweep {self.sweep.name}",
            description=f"{self.sweep.command or 'command not known'} (times: from the first start to the last end of "
            "a stage; pauses between runs count)",
            startTime=started.isoformat(),
            endTime=max(map(_end, records)).isoformat(),
        )
        action["instrument"] = workflow
        action["object"] = _one_or_all(_once(filter(None, (self._dataset(record.config) for record in records))))
        action["result"] = self._results()
        return action

    def _results(self) -> "list[Entity]":
        results = []
        for table in self.sweep.tables:
            name = f"{table}.parquet"
            entity = self._file(
                name,
                self.sweep.read(name),
                name=table,
                description=f"one row is {_row_of(self.sweep, table)}; columns carry their meaning and unit",
                encodingFormat=PARQUET,
            )
            entity["exampleOfWork"] = {"@id": f"#output-{table}"}
            results.append(entity)
        name = f"{STAGES.name}.parquet"
        stages = {"name": STAGES.name, "description": f"one row is {STAGES.row}", "encodingFormat": PARQUET}
        results.append(self._file(name, self.sweep.read(name), **stages))
        for name in self.sweep.shown:
            results.append(self._file(name, self.sweep.read(name), name=name, encodingFormat=MEDIA[Path(name).suffix]))
        return results

    def _control(self, action: "Entity", record: Record) -> "Entity":
        control = self._context(f"#control-{record.key}", "ControlAction", name=f"orchestrated: {_label(record)}")
        control["instrument"] = {"@id": f"#step-{record.stage}-{record.version}"}
        control["object"] = action
        return control

    def _engine(self, controls: "list[Entity]", whole: "Entity") -> "Entity":
        """Return the action of Ray, which ran the stages."""
        versions = sorted({str(r.provenance["versions"].get("ray")) for r in self.sweep.records.values()})
        ray = self._context(
            "https://www.ray.io/",
            "SoftwareApplication",
            name="Ray",
            url={"@id": "https://www.ray.io/"},
            softwareVersion=", ".join(versions),
        )
        action = self._context("#orchestration", "OrganizeAction", name="Ray Tune ran the stages")
        action["instrument"], action["object"], action["result"] = ray, _one_or_all(controls), whole
        return action


def _label(record: Record) -> str:
    return str(record.provenance.get("label") or f"{record.stage} {record.key[:12]}")


def _end(record: Record) -> datetime:
    started = datetime.fromisoformat(record.provenance["started"])
    return started.astimezone(UTC) + timedelta(seconds=round(record.seconds))


def _row_of(sweep: KeptSweep, table: str) -> str:
    """Return the meaning of one row of a table, from the table's file."""
    metadata = sweep.tables[table].schema.metadata or {}
    return str(metadata.get(b"row", b"not stated").decode())


def _once(entities: "Iterable[Entity]") -> "list[Entity]":
    return list({entity.id: entity for entity in entities}.values())


def _one_or_all(entities: "list[Entity]") -> "Entity | list[Entity]":
    """Return a single entity without a list around it, as RO-Crate requires; otherwise the list."""
    return entities[0] if len(entities) == 1 else entities
