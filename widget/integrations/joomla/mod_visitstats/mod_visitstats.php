<?php
/**
 * The counter of visitstats in a Joomla module, for Joomla 3 to 5. License: MIT.
 */

defined('_JEXEC') or die;

require_once __DIR__ . '/snippet.php';

use Joomla\CMS\Factory;
use Joomla\CMS\Helper\ModuleHelper;

if (!function_exists('mod_visitstats_article')) {
    /** What the head says of the article that is shown; nothing on other pages. The key is that of the preset "joomla". */
    function mod_visitstats_article($input)
    {
        if ($input->getCmd('option') !== 'com_content' || $input->getCmd('view') !== 'article') {
            return array();
        }
        $id = $input->getInt('id');
        $database = method_exists(Factory::class, 'getContainer')
            ? Factory::getContainer()->get('DatabaseDriver')
            : Factory::getDbo();
        $query = $database->getQuery(true)
            ->select($database->quoteName(
                array('a.created_by_alias', 'u.name', 'c.title', 'a.publish_up'),
                array('alias', 'author', 'category', 'published')
            ))
            ->from($database->quoteName('#__content', 'a'))
            ->join('LEFT', $database->quoteName('#__users', 'u') . ' ON u.id = a.created_by')
            ->join('LEFT', $database->quoteName('#__categories', 'c') . ' ON c.id = a.catid')
            ->where('a.state = 1 AND a.id = ' . (int) $id);
        $article = $database->setQuery($query)->loadObject();
        if (!$article) {
            return array();
        }
        $published = strtotime($article->published . ' UTC');
        return array(
            'key' => 'article:' . (int) $id,
            'author' => (string) $article->alias !== '' ? $article->alias : (string) $article->author,
            'category' => (string) $article->category,
            'published' => (int) $article->published ? gmdate('c', $published) : '', // older ones have 0000-00-00
        );
    }
}

$snippet = VisitstatsSnippet::read($params->get('snippet', ''));
if ($snippet) {
    $application = Factory::getApplication();
    $document = $application->getDocument();
    foreach (mod_visitstats_article($application->input) as $name => $content) {
        if (trim($content) === '') {
            continue;
        }
        // Joomla escapes the content itself.
        $names = array(
            'key' => array('visitstats-key', 'name'),
            'author' => array('author', 'name'),
            'category' => array('article:section', 'property'),
            'published' => array('article:published_time', 'property'),
        );
        $document->setMetaData($names[$name][0], $content, $names[$name][1]);
    }
    require ModuleHelper::getLayoutPath('mod_visitstats', $params->get('layout', 'default'));
}
