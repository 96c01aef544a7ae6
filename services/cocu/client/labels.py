"""Labels that datasets keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cocu.client.transport import Call, Transport, segment
from cocu.schemas import CocoInstances, LabelSet, LabelsKeep


class Labels:
    """`client.labels`: labels of samples, kept with their dataset, each set under a name."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def put(
        self,
        dataset: str,
        name: str,
        *,
        labels: Mapping[str, Sequence[str]] | None = None,
        instances: CocoInstances | None = None,
        label_map: str | None = None,
    ) -> LabelSet:
        """Keep a table key → labels, or COCO instances (see `read_labels`), in place of what has the name."""
        fields: dict[str, object] = {"label_map": label_map}
        if labels is not None:
            fields["labels"] = {key: list(names) for key, names in labels.items()}
        if instances is not None:
            fields["instances"] = instances
        body = LabelsKeep.model_validate(fields)
        content = body.model_dump_json(exclude_unset=True).encode()
        call = Call(
            method="PUT",
            path=f"{_path(dataset)}/{segment(name)}",
            headers={"Content-Type": "application/json"},
            content=lambda: [content],
            size=len(content),
        )
        return self._transport.parse(LabelSet, self._transport.send(call))

    def list(
        self, dataset: str, *, limit: int | None = None, page_size: int | None = None
    ) -> Iterator[LabelSet]:
        """The labels that a dataset keeps, by name, at most `limit`."""
        return self._transport.pages(LabelSet, _path(dataset), limit=limit, page_size=page_size)

    def get(self, dataset: str, name: str) -> LabelSet:
        """What is known of labels. Raises NotFoundError if there are none of this name."""
        return self._transport.get(LabelSet, f"{_path(dataset)}/{segment(name)}")

    def delete(self, dataset: str, name: str) -> None:
        """Forget labels, and every verdict by them."""
        self._transport.send(Call(method="DELETE", path=f"{_path(dataset)}/{segment(name)}"))


def _path(dataset: str) -> str:
    return f"/v1/datasets/{segment(dataset)}/labels"
