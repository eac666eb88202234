"""Networks that differ in their recipes alone, lowered by one capture for each form of their layers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zerocast.analysis.run.network import Network, Steps, built, check, lower, own_type, title_of
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import Workload
from zerocast.workloads.pruning import NOTHING_PRUNED
from zerocast.workloads.recipes.grammar import chain
from zerocast.workloads.training.expand import PER_LAYER

if TYPE_CHECKING:
    from zerocast.workloads.from_torch import Captured


class Lowering:
    """Lowers networks like `lower`; recipes of one network that leave its layers alike share its capture.

    A run trains its weights, so their zeros are the laws of the recipes, not masks of what they held before: models are
    taken without data. Recipes that need data (channels of smallest weight, thresholds over all layers) are lowered
    one by one from the real model.
    """

    def __init__(self) -> None:
        self._built: dict[Network, tuple[Any, Any]] = {}
        self._captured: dict[Network, Captured] = {}

    def __call__(self, network: Network, steps: Steps) -> Workload:
        check(network)
        if network.is_saved or network.trace or network.weights:
            return lower(network, steps)
        from zerocast.workloads.recipes import prune

        plain = replace(network, prune=None, dense=())
        if plain not in self._built:
            module, inputs = built(plain, steps)
            self._built[plain] = module.to("meta"), inputs
        module, inputs = self._built[plain]
        if network.prune is None:
            return self._of(plain, module, inputs, steps).under(NOTHING_PRUNED)
        try:
            pruned, pruning = prune(module, network.prune, inputs, dense=network.dense)
        except WorkloadError:
            return lower(network, steps)  # which has the weights, or says what is wrong
        changing = [recipe.text for recipe in chain(network.prune) if recipe.changes_module]
        alike = replace(network, prune="+".join(changing)) if changing else plain
        return self._of(alike, pruned, inputs, steps).under(pruning)

    def _of(self, network: Network, module: Any, inputs: Any, steps: Steps) -> Captured:
        """The capture of a module without data, made once for each network."""
        from zerocast.workloads.from_torch import capture_once

        if network not in self._captured:
            with steps("capture"):
                self._captured[network] = capture_once(
                    module, inputs, name=title_of(network.model), training=network.training,
                    optimizer=network.optimizer or "sgd_momentum", dtype=network.dtype or own_type(network),
                    allow_unknown=network.allow_unknown, equal_layers_once=network.is_of_hub,
                    per_layer=network.update == PER_LAYER, checkpoints=network.checkpoint,
                    mask_update=network.mask_update or "amortised",
                )  # fmt: skip
        return self._captured[network]
