"""What plants may ask of this very server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import UNSET

from detector import ModelError
from server.recipes import RecipeError
from server.sinks.sink import Accepted, RecipeOnStream, SinkError, StandingOnLine
from server.streams import PoolBusy, Streams
from server.teaching import Library, NoRecipe, NotStored
from server.words import StreamState, TriggerSaid, check_name, check_trigger


class OwnLine:
    """The streams and recipes of a server as sinks see them. On the event loop.

    Args:
        on_change: told who of the line did what (and what exactly) with which stream.
    """

    def __init__(
        self,
        streams: Streams,
        library: Library,
        on_change: Callable[[str, str, str, str], None] = lambda who, what, detail, stream: None,
    ) -> None:
        self._streams, self._library, self._on_change = streams, library, on_change

    @property
    def streams(self) -> Sequence[str]:
        return self._streams.names

    @property
    def recipes(self) -> Sequence[RecipeOnStream]:
        return [RecipeOnStream(one.id, one.name, one.version) for one in self._library.recipes]

    def recipe_on(self, stream: str) -> RecipeOnStream | None:
        opened = self._streams.get(stream)
        if opened is None or opened.in_force is None:
            return None
        recipe = opened.in_force.recipe
        return RecipeOnStream(recipe.id, recipe.name, recipe.version)

    def standing(self, stream: str) -> StandingOnLine:
        opened = self._streams.get(stream)
        if opened is None:
            status, recipe = self._streams.status(stream), None
            if status.recipe is not UNSET and status.recipe_name is not UNSET and status.recipe_version is not UNSET:
                recipe = RecipeOnStream(status.recipe, status.recipe_name, status.recipe_version)
            return StandingOnLine("waiting", "line", False, False, recipe)
        camera: StreamState = "teaching" if opened.watcher is not None else "silent" if opened.is_silent else "live"
        station = opened.station.station
        simulated = opened.stream.transport == "simulated"
        return StandingOnLine(camera, station.rule.by, station.open is not None, simulated, self.recipe_on(stream))

    def can_trigger(self, stream: str) -> bool:
        return self._streams.can_trigger(stream)

    def trigger(self, stream: str, *, part: str | None, trigger_id: str | None, by: str) -> Accepted:
        try:
            said = check_trigger(TriggerSaid(trigger_id, part))
        except ValueError as error:
            self.missed(stream)
            raise SinkError(str(error)) from error
        return Accepted(stream, self._streams.trigger(stream, said, by))

    def missed(self, stream: str) -> None:
        self._streams.missed(stream)

    async def choose_recipe(self, stream: str, recipe: str, *, who: str) -> str:
        try:
            check_name(stream)
        except ValueError as error:
            raise SinkError(str(error)) from error
        named = [one.id for one in self._library.recipes if one.name == recipe]
        if len(named) > 1:
            raise SinkError(f"{len(named)} recipes are called {recipe[:60]}: name it by its id")
        try:
            chosen, _ = await self._library.choose(stream, named[0] if named else recipe, who=who)
        except (NoRecipe, RecipeError, ModelError, NotStored, PoolBusy) as error:
            raise SinkError(str(error)) from error
        self._on_change(who, "Choose a recipe", chosen.name, stream)
        return chosen.id
