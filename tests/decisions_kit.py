"""Replay of vectors/decisions.json: worlds, queries and contexts as plain JSON."""

from typing import Any

from accord.fingerprint.types import Fingerprint
from accord.ledger.state import ONLY, PARAMETERS, RULES, RuleRow
from accord.matching import Context, Place, Query, Screen, build_screen, decision_view
from accord.registry import registry_digest
from accord.statements.batch import Listing, Media
from accord.statements.bodies import Parameters
from accord.statements.rules import Algorithm, ClassCode, RuleSet, Scope, Service
from accord.wire import record
from accord.wire.ids import GroupId, JurisdictionId, MemberId, TimeMs
from registry_kit import PLATFORM, World

Json = dict[str, Any]


def listing_of(said: Json) -> Listing:
    values = {
        name: bytes.fromhex(said[name])
        for name in ("pdq", "photodna", "md5", "sha1", "sha256")
        if name in said
    }
    return Listing(
        ClassCode(*said["class"]),
        Media(said.get("media", 0)),
        pdq_quality=said.get("pdq_quality"),
        **values,
    )


def world_of(said: Json) -> World:
    world = World()
    for number, agency in enumerate(said["agencies"]):
        homes = tuple(agency["jurisdictions"])
        world.put_agency(agency["name"], agency["sovereign"], number, homes)
    world.put(PARAMETERS, ONLY, record.load_record(Parameters, said["parameters"]))
    groups = tuple(GroupId(group) for group in said["platform"]["groups"])
    world.put_platform(tuple(said["platform"]["jurisdictions"]), groups)
    for name, rule in said["rules"].items():
        rules = record.load_record(RuleSet, rule["rule_set"])
        row = RuleRow(rule["version"], rule["entry"], MemberId("ada"), TimeMs(0), rules)
        world.put(RULES, name.encode(), row)
    for step in said["entries"]:
        _say(world, step)
    return world


def _say(world: World, step: Json) -> None:
    kind, member = step["kind"], step["member"]
    if kind == "publish":
        listings = [listing_of(item) for item in step["listings"]]
        groups = tuple(GroupId(group) for group in step["groups"])
        world.publish(member, *listings, approved=False, groups=groups)
    elif kind == "approve":
        world.approve(member, step["entry"])
    elif kind == "endorse":
        world.endorse(member, step["entry"], step["level"], step["first"], step["count"])
    elif kind == "dispute":
        world.dispute(member, step["entry"], step["first"], step["count"])
    else:
        world.withdraw(member, step["entry"], step["first"], step["count"])


def screen_of(world: World) -> Screen:
    place = Place(len(world.entries), bytes(range(32)))
    return build_screen(world.registry(), world.state, PLATFORM, place)


def facts_of(screen: Screen) -> Json:
    obligations = screen.obligations
    return {
        "registry_digest": registry_digest(obligations.snapshot).hex(),
        "rules_sha256": obligations.rules_sha256.hex(),
        "active_root": obligations.active_root.hex(),
        "active_count": obligations.active_count,
    }


def decision_of(screen: Screen, case: Json) -> Json:
    query, context = case["query"], case["context"]
    asked = Query(
        tuple((Algorithm(name), bytes.fromhex(value)) for name, value in query["digests"]),
        tuple(Fingerprint(bytes.fromhex(bits), quality) for bits, quality in query["frames"]),
        query["undetermined"],
    )
    where = Context(
        tuple(JurisdictionId(name) for name in context["jurisdictions"]),
        Scope(context["scope"]),
        Service(context["service"]),
        context["stale"],
    )
    return decision_view(screen.decide(asked, where))
