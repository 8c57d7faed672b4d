// Renders on a server. Cases come as JSON on stdin: {framework, component, props}; the component "portal" is the whole one.
import { createElement } from 'react';
import { renderToString as reactToString } from 'react-dom/server';
import { createSSRApp, h } from 'vue';
import { renderToString as vueToString } from 'vue/server-renderer';
import * as React from '../../widget/integrations/react/visitstats.mjs';
import * as Vue from '../../widget/integrations/vue/visitstats.mjs';
import { reactPortal, vuePortal } from './portal.mjs';

async function rendered({ framework, component, props }) {
  if (framework === 'react') {
    const made = component === 'portal' ? reactPortal(props, '/a') : createElement(React[component], props);
    // What belongs into the head comes first.
    const [, head, html] = /^((?:<meta[^>]*>)*)(.*)$/s.exec(reactToString(made));
    return { html, head };
  }
  const render = () => (component === 'portal' ? vuePortal(props, '/a') : h(Vue[component], props));
  return { html: await vueToString(createSSRApp({ render })), head: '' };
}

let text = '';
for await (const part of process.stdin) text += part;
const made = [];
for (const one of JSON.parse(text)) made.push(await rendered(one).catch((error) => ({ error: String(error) })));
process.stdout.write(JSON.stringify(made));
