// The page: a bar and one of four views.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { outbox } from "./answering";
import { Bar } from "./bar";
import { Help } from "./help";
import { isTyping } from "./keys";
import { project, readProject, trouble } from "./project";
import { route } from "./router";
import { useStore } from "./store";
import { shown } from "./text";
import { ImagesView } from "./views/images";
import { MapView } from "./views/map";
import { ProgressView } from "./views/progress";
import { QueueView } from "./views/queue";

const VIEWS = { queue: QueueView, images: ImagesView, map: MapView, progress: ProgressView };

function Page() {
  const here = useStore(project);
  const why = useStore(trouble);
  const { view } = useStore(route);
  const [help, showHelp] = useState(false);
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.key === "?" && !isTyping(event)) showHelp(true);
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
  useEffect(() => {
    if (here) document.title = `${shown(here.name).slice(0, 60)} · labelwise`;
  }, [here?.name]);
  if (!here) return <main class="empty">{why ? <p role="alert">{why}</p> : <p role="status">Opening the project …</p>}</main>;
  outbox(here.name); // answers that an earlier page kept are on their way from here on
  const View = VIEWS[view as keyof typeof VIEWS] ?? QueueView;
  return (
    <>
      <Bar project={here} help={() => showHelp(true)} />
      <View project={here} />
      {help && <Help project={here} close={() => showHelp(false)} />}
    </>
  );
}

void readProject();
render(<Page />, document.getElementById("page") as HTMLElement);
