"""What a Qdrant server is asked over gRPC: requests as they arrive, whose answers are as good as empty.

There is nothing behind it; what a real server makes of them is shown by tests/contracts where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from qdrant_client import grpc as messages
from qdrant_client.grpc import collections_service_pb2, points_service_pb2

from cocu.vectors import VectorOptions, Vectors

OURS = {"encoder": "e1", "tenant": "acme", "dataset": "d1"}


class Recording(grpc.GenericRpcHandler):
    """Answers every method of the points and collections services; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.keys: set[str] = set()

    def service(self, details: Any) -> Any:
        service, method = details.method.lstrip("/").split("/")
        file = points_service_pb2 if service.endswith("Points") else collections_service_pb2
        described = file.DESCRIPTOR.services_by_name[service.split(".")[-1]].methods_by_name[method]
        self.keys.add(dict(details.invocation_metadata).get("api-key", ""))
        request = getattr(messages, described.input_type.name)
        answer = getattr(messages, described.output_type.name)

        def handle(asked: Any, context: Any) -> Any:
            self.asked.append((method, asked))
            if method == "Get" and file is collections_service_pb2:
                return self._collection(context)
            if answer is messages.PointsOperationResponse:
                return answer(result=messages.UpdateResult(status=messages.UpdateStatus.Completed))
            return answer()

        return grpc.unary_unary_rpc_method_handler(
            handle, request_deserializer=request.FromString, response_serializer=answer.SerializeToString
        )

    def _collection(self, context: Any) -> Any:
        if not self.of("UpdateAliases"):
            context.abort(grpc.StatusCode.NOT_FOUND, "Collection `samples-e1` doesn't exist!")
        answer = messages.GetCollectionInfoResponse()
        answer.result.status = messages.CollectionStatus.Green
        config = answer.result.config
        config.params.vectors_config.params.size = 8
        config.params.vectors_config.params.distance = messages.Distance.Cosine
        config.params.shard_number = 1
        for name, value in {"m": 0, "ef_construct": 100, "full_scan_threshold": 10_000}.items():
            setattr(config.hnsw_config, name, value)
        optimizers = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0}
        for name, value in (optimizers | {"flush_interval_sec": 5}).items():
            setattr(config.optimizer_config, name, value)
        config.wal_config.wal_capacity_mb, config.wal_config.wal_segments_ahead = 32, 0
        answer.result.optimizer_status.ok = True
        return answer

    def of(self, method: str) -> list[Any]:
        """The requests of a method, in order."""
        return [asked for named, asked in self.asked if named == method]


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.fixture
def vectors(recording: Recording) -> Iterator[Vectors]:
    server = grpc.server(ThreadPoolExecutor(8), handlers=[recording])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    options = VectorOptions(grpc_port=port, api_key="sesame", seconds=20, replicas=3, shards=6, on_disk=False)
    opened = Vectors.open("http://127.0.0.1:9", options=options)
    yield opened
    opened.close()
    server.stop(None).wait()


def test_a_collection_is_made_for_many_tenants(vectors: Vectors, recording: Recording) -> None:
    vectors.ensure_collection(encoder="e1", dimensions=8)
    assert recording.keys == {"sesame"}
    (created,) = recording.of("Create")
    assert created.collection_name == "vectors-first-e1"
    assert (created.hnsw_config.m, created.hnsw_config.payload_m) == (0, 16)
    assert created.quantization_config.scalar.type == messages.QuantizationType.Int8
    # One copy is enough for a write: the files have everything, and a replica that was away catches up.
    assert (created.replication_factor, created.write_consistency_factor) == (3, 1)
    assert created.shard_number == 6
    assert created.strict_mode_config.enabled
    assert not created.strict_mode_config.unindexed_filtering_retrieve
    params = created.vectors_config.params
    assert (params.size, params.distance, params.on_disk) == (8, messages.Distance.Cosine, False)
    assert params.datatype == messages.Datatype.Float16
    indexes = {each.field_name: each.field_index_params for each in recording.of("CreateFieldIndex")}
    assert set(indexes) == {"tenant", "dataset", "concepts"}
    assert not indexes["concepts"].integer_index_params.enable_hnsw
    assert indexes["tenant"].keyword_index_params.is_tenant
    # Indexes and alias come before the first point.
    assert [method for method, _ in recording.asked if method.startswith(("Create", "Update"))] == [
        "Create",
        *["CreateFieldIndex"] * 3,
        "UpdateAliases",
    ]
    (aliases,) = recording.of("UpdateAliases")
    (change,) = aliases.actions
    assert change.create_alias.alias_name == "samples-e1"
    assert change.create_alias.collection_name == "vectors-first-e1"


def test_points_come_in_batches_side_by_side(vectors: Vectors, recording: Recording) -> None:
    embeddings_ND = np.arange(1000 * 8, dtype=np.float16).reshape(1000, 8) / 8000
    keys = [f"k{number}" for number in range(1000)]
    vectors.upsert_samples(**OURS, keys=keys, first_row=50, embeddings_ND=embeddings_ND)
    sent = recording.of("Upsert")
    assert sorted(len(each.points) for each in sent) == [232, 256, 256, 256]
    assert all(each.wait and each.collection_name == "samples-e1" for each in sent)
    points = {point.payload["key"].string_value: point for each in sent for point in each.points}
    assert set(points) == set(keys)
    assert len({point.id.uuid for point in points.values()}) == 1000
    point = points["k7"]
    assert {name: value.string_value for name, value in point.payload.items() if name != "row"} == {
        "tenant": "acme",
        "dataset": "d1",
        "key": "k7",
    }
    assert point.payload["row"].integer_value == 57
    numbers = point.vectors.vector
    assert list(numbers.dense.data or numbers.data) == pytest.approx(embeddings_ND[7].tolist())


def test_every_request_is_kept_within_its_tenant_and_dataset(vectors: Vectors, recording: Recording) -> None:
    vectors.search(**OURS, vector_D=np.ones(8), limit=5)
    vectors.count(**OURS)
    vectors.facets(**OURS, curation="c")
    (query,), (count,), (facet,) = (recording.of(name) for name in ("Query", "Count", "Facet"))
    for condition in (query.filter, count.filter, facet.filter):
        assert {each.field.key: each.field.match.keyword for each in condition.must} == {
            "tenant": "acme",
            "dataset": "d1",
        }
    assert query.params.quantization.rescore
