"""Which wave a run is about: what the operator typed, or what the triggering assets say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context


def waves_asked_for(context: Context) -> list[str]:
    """Return the wave ids of this run, empty when it should choose for itself.

    A value of the Params form (``wave_id``) wins; otherwise every asset event that started the
    run names a wave in its ``extra``.
    """
    typed = (context.get("params") or {}).get("wave_id")
    if typed:
        return [str(typed)]
    waves: list[str] = []
    events: Any = context.get("triggering_asset_events") or {}
    for asset_events in events.values():
        for event in asset_events:
            waves.extend(str(wave) for wave in (event.extra or {}).get("waves", []))
    return sorted(set(waves))
