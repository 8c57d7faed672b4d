// The portal in a browser: it changes its address without loading. `?vue` is the same in Vue. What stands in #app already,
// rendered on a server, is taken over.
import { createElement, useEffect, useState } from 'react';
import { createRoot, hydrateRoot } from 'react-dom/client';
import { createApp, createSSRApp, ref } from 'vue';
import { reactPortal, vuePortal } from './portal.mjs';

const counter = window.counter; // as the page says
const app = document.getElementById('app');
let show;
window.go = (path) => {
  history.pushState(null, '', path + location.search);
  show(path);
};

if (location.search.includes('vue')) {
  const path = ref(location.pathname);
  show = (to) => (path.value = to);
  const portal = { render: () => vuePortal(counter, path.value) };
  (app.firstChild ? createSSRApp(portal) : createApp(portal)).mount(app);
} else {
  const Portal = () => {
    const [path, setPath] = useState(location.pathname);
    useEffect(() => void (show = setPath), []);
    return reactPortal(counter, path);
  };
  if (app.firstChild) hydrateRoot(app, createElement(Portal));
  else createRoot(app).render(createElement(Portal));
}
